"""Which task an instruction asks for: rules over its words; a router model's prompt and reply."""
from __future__ import annotations

import re
from dataclasses import dataclass

from vr_ros.core.prompt import render_turns
from vr_ros.core.types import Task

ROUTER_SYSTEM = 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.'
ROUTER_PROMPT = (
    'Given a user instruction, please classify which type of task it is and output the final '
    'answer after "####".. The types are: 1) Segmentation/detection, 2) Counting, 3) Editing, '
    '4) Caption/QA. The user instruction is: ')


@dataclass(frozen=True)
class Route:
    """The task chosen for an instruction.

    :param confident: a rule matched that is seldom wrong; otherwise a model may be asked.
    """

    task: Task
    confident: bool


# Words around a request that say nothing about it.
_POLITE = re.compile(
    r'(?:(?:please|kindly|hey|hi|hello|ok|okay|now|then|so|robot|just|also|and|well)\b[\s,:!.-]*'
    r'|(?:can|could|would|will) you\b(?! see\b)(?: please| kindly| help me)?[\s,]*'
    r"|i(?: want| need|'d like| would like)(?: you)?(?: to(?: know)?)?\b[\s,]*"
    r"|i(?:'m| am) looking for\b[\s,]*"
    r'|(?:help me(?: to)?|try to|go and|do you know|let me know|i wonder)\b[\s,:]*'
    r'|tell me\b[\s,:]*(?=(?:what|which|where|who|whose|why|when|how|if|whether)\b))+')

_MODAL = '(?:can|could|might|may|would|will|should|must)'
_THING = '(?:objects?|things?|items?|ones?)'
_OUTLINE = '(?:masks?|outlines?|silhouettes?|contours?|segmentations?)'
_MAKE = '(?:give|show|draw|make|create|produce|return|generate|get|compute|provide|predict)'
_UNIT = (
    '(?:degrees?|percent|euros?|dollars?|cents?|pounds?|(?:centi|milli)?met(?:er|re)s?|'
    'inch(?:es)?|feet|kilos?|kilograms?|grams?|lit(?:er|re)s?|hours?|minutes?|seconds?|days?|years?)')
_PROPERTY = (
    '(?:colou?rs?|shapes?|sizes?|materials?|textures?|patterns?|kinds?|types?|sorts?|brands?|makes?|'
    'models?|names?|words?|letters?|text|title|language|time|date|day|year|season|weather|number|'
    'price|temperature|mood|direction|way|side|state|condition|purpose|reason|country|city|'
    'room|place|description|caption|summary)')

_FIT = (
    '(?:(?:good |useful |used |made |meant |suitable )?for|able to|likely to|long|short|round|flat|'
    'hollow|pointed|sharp|soft|heavy|edible)')

_D, _S, _C, _V = Task.DETECTION, Task.SEGMENTATION, Task.COUNTING, Task.VQA

# Pattern (searched for in the lower-cased request), task, confident. The first that fits decides.
_RULES: tuple[tuple[str, Task, bool], ...] = (
    # Orders to segment.
    (r'^(?:segment|outline|silhouette|cut ?out|trace|highlight|shade|delineate)\b', _S, True),
    (r'^mask (?:out|off|the|all|everything|every|each|any|this|that|these|those|both)\b', _S, True),
    (r'^(?:separate|extract|isolate)\b.*\b(?:background|shapes?|regions?|pixels?)\b', _S, True),
    # Counting, but not measuring.
    (rf'\bhow many {_UNIT}\b', _V, True),
    (r'\b(?:how many|number of|count of|headcount|tally)\b', _C, True),
    (r'^(?:re)?count\b|\b(?:and|then|to) count\b', _C, True),
    # Masks asked for in other words. A mask that someone wears is an object.
    (rf'^{_MAKE}\b.*\b{_OUTLINE}(?: (?:of|for|around|that|on)\b|$)', _S, True),
    (rf'^(?:(?:the|an?|binary|pixel|exact|precise) )*{_OUTLINE} (?:of|for)\b', _S, True),
    (r'\bsegment(?:ed|ing|ation)?\b|\bpixel[- ](?:wise|level|precise|perfect)\b', _S, True),
    (r'\b(?:which|all|every|the) (?:the )?pixels\b', _S, True),
    # Questions answered by yes or no, or by one of two.
    (r'\b(?:yes or no|true or (?:false|not))\b', _V, True),
    (r'\bis (?:that|this|it) (?:true|right|correct|so)\b', _V, True),
    (r'\bor\b.*\b(?:what|which)\b|^which\b.*\bor\b', _V, True),
    (r'\b(?:what|which)(?: one)? is (?:\w+er|more|less)\b', _V, True),
    # Requests for words.
    (r'^(?:describe|caption|explain|summari[sz]e|read|transcribe|translate)\b', _V, True),
    (r'^(?:compare|name|list|write)\b', _V, True),
    (r'^(?:why|when|whose|how|if|whether)\b', _V, True),
    (r'^(?:tell me|say|talk)(?: something)? about\b', _V, True),
    (r'^(?:tell me|give me|say|state|report|identify|guess|determine|estimate)'
     rf" (?:(?:the|its|their|an?|short|brief|\w+'s) )*{_PROPERTY}\b", _V, True),
    (r'^(?:(?:an?|short|brief) )*(?:description|caption|summary) of\b', _V, True),
    (rf'^(?:what|which) (?:(?:is|are) (?:the|its|their) )?{_PROPERTY}\b', _V, True),
    # What could this be, what can you see: about the scene, not for an object.
    (rf'^what {_MODAL} you (?:see|tell|say|read|notice|observe|describe)\b', _V, True),
    (rf'^what {_MODAL} (?:(?:this|that|it|these|those|there) be|happen|go wrong)\b', _V, True),
    (rf'^what {_MODAL} (?:i|we|you|the robot) do(?: next| now| about\b.*)?\W*$', _V, True),
    (r'^what (?:happens|happened|makes|causes|means|matters|else|about)\b', _V, True),
    # What could roll, which object holds water: questions whose answer is an object.
    (rf'^(?:what|which)(?: {_THING}| of (?:these|those|them|the \w+))? {_MODAL}\b', _D, True),
    (rf'^what {_THING}\b', _D, True),
    (rf'^what (?:i|we|you|one|someone) {_MODAL}\b', _D, True),
    (r'^what (?!do\b|can\b).*\b(?:do|can) (?:you|we|i) see\b', _D, True),
    (rf'^what (?:is|are) {_FIT}\b', _D, True),
    (r"^what(?:'s| (?:is|are|was|were|does|do|did))\b", _V, True),
    (r'^what (?:has|have|\w+s)\b', _D, True),
    (r'^which\b', _D, True),
    (r'^where\b', _D, True),
    (r'^who\b', _D, False),
    # What begins like a question answered by yes or no.
    (r"^(?:is|are|was|were|does|do|did|has|have)(?:n't)?\b", _V, True),
    (rf"^{_MODAL}(?:n't)?\b", _V, True),
    (r'^what\b', _V, False),
    # Orders that need a place, and plain names.
    (r'^(?:find|locate|detect|spot|show|point|look|search|mark|box|identify|track|follow|select|pick|'
     r'grab|grasp|get|bring|fetch|hand|take|touch|push|reach|choose|give|label|return|indicate|'
     r'draw|put|place|move|go|drive|watch|see|seek|ground|locali[sz]e)\b', _D, True),
    (r'^(?:the|an?|all|every|each|everything|anything|something|both|my|your|this|that|these|those)\b',
     _D, True),
)
_COMPILED = tuple((re.compile(pattern), task, confident) for pattern, task, confident in _RULES)
_LONGEST_NAME_WORDS = 6


def route(text: str) -> Route:
    """Choose the task of an instruction that names none.

    :param text: a validated instruction.
    :return: DETECTION, SEGMENTATION, COUNTING or VQA; never AUTO.
    """
    words = ' '.join(text.lower().replace('’', "'").split()).strip(' "\'.,;:!-')
    polite = _POLITE.match(words)
    request = words[polite.end():].strip(' ,') if polite else words
    for pattern, task, confident in _COMPILED:
        if pattern.search(request):
            return Route(task, confident)
    if request.endswith(('?', '？')):
        return Route(Task.VQA, False)
    is_name = request.isascii() and 0 < len(request.split()) <= _LONGEST_NAME_WORDS
    return Route(Task.DETECTION, is_name)


def decide(task: Task, probability: float, rules: Route, *, min_probability: float,
           default: Task = Task.AUTO) -> Task:
    """Weigh what a router model says against the rules.

    :param task: what the model says.
    :param probability: of it; NaN, which is never enough, where the model did not say.
    :param min_probability: below it the model is not believed.
    :param default: the task where neither the model nor the rules are sure; AUTO: what the rules
        guess.
    """
    if probability >= min_probability:
        return task
    return rules.task if rules.confident or default is Task.AUTO else default


def render_router_chat(text: str) -> str:
    """Render the question to the language-model router (TaskRouter-1.5B) as the Qwen chat.

    :param text: a validated instruction, otherwise as the user wrote it.
    """
    return render_turns(ROUTER_SYSTEM, ROUTER_PROMPT + text)


# What decides in a reply, and may be a part of another number.
REPLY_DIGITS = '[1-4]'
_REPLY_TASKS = {'1': Task.SEGMENTATION, '2': Task.COUNTING, '3': Task.VQA, '4': Task.VQA}
_REPLY_WORDS = (
    (('segment', 'detect', 'grounding'), Task.SEGMENTATION),
    (('count', 'number'), Task.COUNTING),
    (('edit', 'modify'), Task.VQA),
    (('caption', 'qa', 'question', 'answer', 'describe'), Task.VQA),
)


def parse_router_reply(text: str) -> Task:
    """Read the task from the router's reply, as VisionReasoner reads it.

    The last digit from 1 to 4 decides; without one the last group of words that occurs; else VQA.
    Editing, which nothing here can do, is answered in words.
    """
    digits = re.findall(REPLY_DIGITS, text)
    if digits:
        return _REPLY_TASKS[digits[-1]]
    reply = text.lower()
    named = [task for words, task in _REPLY_WORDS if any(word in reply for word in words)]
    return named[-1] if named else Task.VQA
