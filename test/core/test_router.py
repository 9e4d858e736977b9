"""Tests of the rules that choose a task, and of the router model's prompt and reply."""
from __future__ import annotations

import math

import pytest

from vr_ros.core.router import Route, decide, parse_router_reply, render_router_chat, route
from vr_ros.core.types import Task

COUNTING = [
    'how many cups are there',
    'How many cups are there?',
    'HOW MANY BALLS ARE THERE IN THIS IMAGE???',
    'how many airplanes are there in this image',
    'count the red cubes',
    'Please count the red cubes.',
    'can you count all the mugs?',
    'could you please tell me how many bowls you see?',
    'tell me how many cones are on the table',
    'the number of blue objects',
    'what is the number of cylinders?',
    'give me the number of people',
    'what is the count of green balls?',
    'find out how many objects are left of the mug',
    'find all cups and count them',
    'recount the bars',
    'In this picture, how many dogs can be seen?',
    'I want to know how many things could roll',
    'do you know how many chairs there are?',
    'show me the total number of boxes',
]

SEGMENTATION = [
    'segment the donuts',
    'please segment the donuts',
    'Segment the small red cube.',
    'could you segment everything that is blue?',
    'mask the dog',
    'mask out the background',
    'outline the mug',
    'Please outline every ball.',
    'cut out the person on the left',
    'highlight the largest object',
    'trace the bowl',
    'give me a mask of the red cube',
    'show me the masks for all cups',
    'draw the outline of the cone',
    'generate a segmentation mask',
    'the mask of the green bowl',
    'I want you to segment what could roll off the table',
    'which pixels belong to the cup?',
    'find the pixel-wise region of the cat',
    'do instance segmentation of the cars',
    'separate the mug from the background',
    'I need the mask of every cone',
    'mask everything that is round',
    'can you mask everything that has a handle?',
]

VQA = [
    'what colour is the mug?',
    'What color is the ball',
    'what is on the table?',
    'what shape is the blue object?',
    'which colour does the cone have?',
    "what's in the picture?",
    'what size is the bar?',
    'is there a green bowl?',
    'Are there any cups on the table?',
    'does the cube touch the ball?',
    'can the robot reach the cup?',
    'is the cone left of the mug?',
    'is anyone wearing a mask?',
    'describe the scene',
    'Please describe what you see.',
    'can you describe the image?',
    'why is the light red?',
    'what does the sign say?',
    'read the label on the bottle',
    'what could this be?',
    'what can you see?',
    'what should I do next?',
    'what will happen if I push the ball?',
    'which is larger, the mug or the bowl?',
    'how big is the mug?',
    'how does the gripper work',
    'how many kilograms does the label say?',
    'tell me what colour the ball is',
    'tell me about this picture',
    'tell me the colour of the mug',
    'name the shape of the red thing',
    'caption this image',
    'a short description of the scene',
    'what kind of fruit is in the bowl?',
    'when was this photo taken?',
    'whose cup is this?',
    'what is the man doing?',
    'explain what is going on',
    'can you see a green mug?',
    'yes or no: is the ball red',
    'the ball is left of the cube, is that true?',
    'the mug or the bowl: what is nearer to the camera?',
    'of the mug and the bowl, tell me which is larger',
    'which one is bigger?',
    'which is the colour of the mug?',
    'list the objects on the table',
    'name the round thing',
    'write a caption',
]

DETECTION = [
    'find the small red cube',
    'Find the cup!',
    'please find all blue objects',
    'can you find the mug?',
    'could you please locate the cone left of the mug?',
    'where is the bowl?',
    "where's my mug",
    'Where are the balls?',
    'the small red cube',
    'all blue objects',
    'every ball on the table',
    'a cup',
    'the object nearest to the camera',
    'the green bowl',
    'what could roll off the table?',
    'what can I drink from?',
    'which object could hold water?',
    'which objects are left of the mug?',
    'what should I use to cut bread?',
    'which of these could hold soup?',
    'what holds water?',
    'what has a handle?',
    'what objects are blue?',
    'which one is the largest?',
    'tell me what could roll away',
    'show me the largest cylinder',
    'point at the yellow cone',
    'pick up the red cube',
    'bring me something to drink from',
    'I need to find the screwdriver',
    'detect people',
    'red cube',
    'cups and mugs',
    'find the person wearing a mask',
    'the man with the face mask',
    'hey robot, look for the bar',
    'the cone, please',
    'identify the red mug',
    'track the ball',
    'I need the red cup',
    'I am looking for something to sit on',
    'what small cups do you see behind the mug?',
    'what is for drinking?',
    'tell me what I can eat soup from',
]


@pytest.mark.parametrize(('text', 'task'), [
    *((text, Task.COUNTING) for text in COUNTING),
    *((text, Task.SEGMENTATION) for text in SEGMENTATION),
    *((text, Task.VQA) for text in VQA),
    *((text, Task.DETECTION) for text in DETECTION),
])
def test_route(text: str, task: Task) -> None:
    assert route(text) == Route(task, confident=True)


@pytest.mark.parametrize('change', [
    str.upper,
    str.title,
    lambda text: f'  {text}  ',
    lambda text: f'please {text}',
    lambda text: f'Please, {text}',
    lambda text: f'Hey robot, {text}',
    lambda text: text.replace(' ', '   '),
    lambda text: f'"{text}"',
], ids=['upper', 'title', 'spaces', 'please', 'comma', 'robot', 'wide', 'quoted'])
@pytest.mark.parametrize(('text', 'task'), [
    ('how many cups are there', Task.COUNTING),
    ('segment the mug', Task.SEGMENTATION),
    ('what colour is the mug', Task.VQA),
    ('what could roll off the table', Task.DETECTION),
])
def test_case_spacing_and_politeness_do_not_matter(change, text: str, task: Task) -> None:
    assert route(change(text)).task is task


@pytest.mark.parametrize(('text', 'task'), [
    ('who is wearing a hat?', Task.DETECTION),           # a person to show, or a name to tell
    ('what a mess', Task.VQA),                           # no question after all
    ('more light?', Task.VQA),                           # a question of no known form
    ('红色的杯子', Task.DETECTION),                        # rules know English only
    ('桌子上有几个杯子？', Task.VQA),                       # nor can they count in Chinese
    ('🍎', Task.DETECTION),
    ('', Task.DETECTION),
    ('please', Task.DETECTION),                          # nothing but politeness
    ('under trees beside roads people walk slowly and birds sing', Task.DETECTION),  # a long story
])
def test_doubt_is_admitted(text: str, task: Task) -> None:
    assert route(text) == Route(task, confident=False)


@pytest.mark.parametrize('text', [
    'which ' * 800, 'give a ' * 600, 'please ' * 700, 'what the ' * 400])
def test_long_text_is_routed(text: str) -> None:
    assert route(text).task in set(Task) - {Task.AUTO}


def test_router_chat_is_the_reference_text() -> None:
    assert render_router_chat('Find the cup?') == (
        '<|im_start|>system\n'
        'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n'
        '<|im_start|>user\n'
        'Given a user instruction, please classify which type of task it is and output the final '
        'answer after "####".. The types are: 1) Segmentation/detection, 2) Counting, 3) Editing, '
        '4) Caption/QA. The user instruction is: Find the cup?<|im_end|>\n'
        '<|im_start|>assistant\n')


@pytest.mark.parametrize(('reply', 'task'), [
    ('#### 1', Task.SEGMENTATION),
    ('#### 2', Task.COUNTING),
    ('####3', Task.VQA),                                       # editing
    ('#### 4', Task.VQA),
    ('Type: 2', Task.COUNTING),
    ('It could be 1) or 4), but the task is 2.', Task.COUNTING),   # the last digit counts
    ('The type is 2, sure at 100%', Task.SEGMENTATION),  # any digit 1-4, even of another number
    ('5 6 7 8 9 0', Task.VQA),                                 # no digit of a type
    ('Segmentation/detection', Task.SEGMENTATION),
    ('GROUNDING', Task.SEGMENTATION),
    ('counting', Task.COUNTING),
    ('detect and count', Task.COUNTING),                       # the later group wins
    ('count the edits', Task.VQA),
    ('Caption', Task.VQA),
    ('count? no, a question', Task.VQA),
    ('', Task.VQA),
    ('no idea', Task.VQA),
])
def test_router_reply(reply: str, task: Task) -> None:
    assert parse_router_reply(reply) is task


@pytest.mark.parametrize(('probability', 'default', 'rules', 'expected'), [
    (0.6, Task.AUTO, Route(Task.COUNTING, True), Task.VQA),              # the model is believed
    (0.5, Task.AUTO, Route(Task.COUNTING, True), Task.VQA),              # just so
    (0.4, Task.AUTO, Route(Task.COUNTING, True), Task.COUNTING),
    (0.4, Task.SEGMENTATION, Route(Task.COUNTING, True), Task.COUNTING),
    (0.4, Task.SEGMENTATION, Route(Task.COUNTING, False), Task.SEGMENTATION),
    (0.4, Task.AUTO, Route(Task.COUNTING, False), Task.COUNTING),
    (math.nan, Task.AUTO, Route(Task.COUNTING, False), Task.COUNTING),   # the model did not say
])
def test_who_is_believed(probability: float, default: Task, rules: Route, expected: Task) -> None:
    assert decide(Task.VQA, probability, rules, min_probability=0.5, default=default) is expected
