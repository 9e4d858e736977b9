"""The wordings of every kind of instruction, for training and held out.

A wording is a pattern with slots:
- {s} {p} {a} {every}: the noun in the singular, in the plural, with its article, and after 'every';
- {o}: the anchor; {r}: a side relation; {rn}: any relation; {x}: a noun with an extreme;
- {c}: a comparison; {q} {qp}: a function as a question after a singular and a plural subject;
- {g} {h}: a function as a clause after 'that', of a singular and a plural subject.
{np} and {be} exist only in frames. Held-out wordings use no word that training never shows: only
the combination is new.
"""

from __future__ import annotations

from vr_ros.core.types import Task
from vr_ros.sim.queries import Form

DETECT_FRAMES = {
    'train': (
        '{np}',
        'find {np}',
        'locate {np}',
        'detect {np}',
        'show me {np}',
        'where {be} {np}',
        'look for {np}',
        'point to {np}',
        'please find {np}',
        'can you find {np}',
        'draw a box around {np}',
        'i need {np}',
        'i am looking for {np}',
        'give me the box of {np}',
    ),
    'heldout': (
        'please locate {np}',
        'can you show me {np}',
        'please look for {np}',
        'i need you to find {np}',
        'can you point to {np}',
        'find a box around {np}',
    ),
}
SEGMENT_FRAMES = {
    'train': (
        'segment {np}',
        'outline {np}',
        'mask {np}',
        'mask out {np}',
        'trace {np}',
        'please segment {np}',
        'can you segment {np}',
        'give me the mask of {np}',
        'show me the mask of {np}',
        'draw the outline of {np}',
        'mark the pixels of {np}',
        'which pixels belong to {np}',
        'show me the pixels of {np}',
    ),
    'heldout': (
        'please outline {np}',
        'can you mask {np}',
        'give me the outline of {np}',
        'draw the mask of {np}',
        'i need the mask of {np}',
        'find the pixels of {np}',
    ),
}
COUNT_FRAMES = {
    'train': (
        'how many {np} are there',
        'how many {np} are on the table',
        'count {np}',
        'count the {np}',
        'count all {np}',
        'what is the number of {np}',
        'how many {np} can you see',
        'how many {np} do you see',
        'tell me how many {np} there are',
        'give me the number of {np}',
        'the number of {np}',
        'please count the {np}',
        'find the number of {np}',
    ),
    'heldout': (
        'can you count the {np}',
        'please count all {np}',
        'tell me the number of {np}',
        'how many {np} are there on the table',
        'please tell me how many {np} you see',
    ),
}

# Noun phrases of each form, with the verb that agrees with them.
LOCATION_NOUNS = {
    Form.ONE: (('the {s}', 'is'),),
    Form.ALL: (
        ('all {p}', 'are'),
        ('all the {p}', 'are'),
        ('the {p}', 'are'),
        ('{every}', 'is'),
        ('each {s}', 'is'),
    ),
    Form.RELATION: (('the {s} {rn} the {o}', 'is'), ('the {s} that is {rn} the {o}', 'is')),
    Form.RELATION_ALL: (
        ('all {p} {r} the {o}', 'are'),
        ('the {p} {r} the {o}', 'are'),
        ('all {p} that are {r} the {o}', 'are'),
        ('{every} {r} the {o}', 'is'),
    ),
    Form.EXTREME: (('the {x}', 'is'),),
    Form.FUNCTION: (
        ('everything that {g}', 'is'),
        ('all objects that {h}', 'are'),
        ('the things that {h}', 'are'),
    ),
}
COUNT_NOUNS = {
    Form.ALL: (('{p}', 'are'),),
    Form.RELATION_ALL: (('{p} {r} the {o}', 'are'), ('{p} that are {r} the {o}', 'are')),
    Form.FUNCTION: (('objects that {h}', 'are'), ('things that {h}', 'are')),
}

# Whole sentences that are no frame around a noun phrase.
DIRECT = {
    (Form.FUNCTION, Task.DETECTION): {
        'train': (
            'what {q}',
            'which object {q}',
            'which objects {qp}',
            'which thing {q}',
            'tell me what {g}',
            'which of the objects {q}',
            'show me what {g}',
        ),
        'heldout': (
            'which things {qp}',
            'which of the things {q}',
            'find what {g}',
            'can you tell me what {g}',
        ),
    },
    (Form.RELATION_ALL, Task.DETECTION): {
        'train': (
            'which {p} are {r} the {o}',
            'tell me which {p} are {r} the {o}',
            'what {p} do you see {r} the {o}',
        ),
        'heldout': ('which {p} can you see {r} the {o}', 'show me which {p} are {r} the {o}'),
    },
    (Form.RELATION_ALL, Task.COUNTING): {
        'train': ('how many {p} are {r} the {o}',),
        'heldout': ('please tell me how many {p} are {r} the {o}',),
    },
    (Form.FUNCTION, Task.COUNTING): {
        'train': ('how many objects {qp}', 'how many of the objects {qp}'),
        'heldout': ('how many things {qp}', 'how many of the things {qp}'),
    },
}

VQA = {
    Form.COLOUR: {
        'train': (
            'what colour is the {s}',
            'which colour is the {s}',
            'what is the colour of the {s}',
            'tell me the colour of the {s}',
            'what colour does the {s} have',
            'which colour does the {s} have',
            'name the colour of the {s}',
            'give me the colour of the {s}',
            'can you tell me the colour of the {s}',
            'tell me what colour the {s} is',
            'what is the colour that the {s} has',
            'please tell me the colour of the {s}',
        ),
        'heldout': (
            'please name the colour of the {s}',
            'tell me which colour the {s} is',
            'which is the colour of the {s}',
            'can you name the colour of the {s}',
        ),
    },
    Form.SHAPE: {
        'train': (
            'what shape is the {s}',
            'which shape is the {s}',
            'what is the shape of the {s}',
            'tell me the shape of the {s}',
            'what shape does the {s} have',
            'what is the {s}',
            'which shape does the {s} have',
            'name the shape of the {s}',
            'name the {s}',
            'give me the shape of the {s}',
            'what kind of object is the {s}',
            'can you tell me the shape of the {s}',
        ),
        'heldout': (
            'please name the shape of the {s}',
            'tell me which shape the {s} is',
            'what kind of shape is the {s}',
            'can you name the shape of the {s}',
        ),
    },
    Form.SIZE: {
        'train': (
            'what size is the {s}',
            'which size is the {s}',
            'what is the size of the {s}',
            'tell me the size of the {s}',
            'what size does the {s} have',
            'how big is the {s}',
            'do you see how large the {s} is',
            'name the size of the {s}',
            'how large is the {s}',
            'give me the size of the {s}',
            'tell me how big the {s} is',
            'can you tell me the size of the {s}',
        ),
        'heldout': (
            'please name the size of the {s}',
            'tell me which size the {s} is',
            'tell me how large the {s} is',
            'can you tell me how big the {s} is',
        ),
    },
    Form.EXISTS: {
        'train': (
            'is there {a}',
            'is there {a} on the table',
            'do you see {a}',
            'can you see {a}',
            'are there any {p}',
            'are there any {p} on the table',
            'is {a} on the table',
            'do you see any {p}',
            'can you see any {p}',
            'is there any {s}',
            'is {a} there',
            'tell me if there is {a}',
            'does the table have {a}',
        ),
        'heldout': (
            'tell me if you see {a}',
            'is there any {s} on the table',
            'can you see {a} on the table',
            'tell me if there are any {p}',
            'does the table have any {p}',
        ),
    },
    Form.RELATED: {
        'train': (
            'is the {s} {r} the {o}',
            'is it true that the {s} is {r} the {o}',
            'tell me if the {s} is {r} the {o}',
            'do you see the {s} {r} the {o}',
            'yes or no: is the {s} {r} the {o}',
            'do you think that the {s} is {r} the {o}',
            'do you think the {s} is {r} the {o}',
            'can you tell me if the {s} is {r} the {o}',
            'the {s} is {r} the {o}, yes or no',
            'the {s} is {r} the {o}, is that true',
            'true or not: the {s} is {r} the {o}',
        ),
        'heldout': (
            'yes or no: the {s} is {r} the {o}',
            'tell me if it is true that the {s} is {r} the {o}',
            'the {s} is {r} the {o}, true or not',
            'can you see the {s} {r} the {o}',
        ),
    },
    Form.COMPARE: {
        'train': (
            'which is {c}, the {s} or the {o}',
            'what is {c}, the {s} or the {o}',
            'which one is {c}, the {s} or the {o}',
            'which object is {c}, the {s} or the {o}',
            'tell me which is {c}, the {s} or the {o}',
            'the {s} or the {o}: which is {c}',
            'the {s} or the {o}, which one is {c}',
            'of the {s} and the {o}, which is {c}',
            'of the {s} and the {o}, which one is {c}',
            'is the {s} or the {o} {c}',
            'which of the two is {c}, the {s} or the {o}',
        ),
        'heldout': (
            'which thing is {c}, the {s} or the {o}',
            'tell me which one is {c}, the {s} or the {o}',
            'the {s} or the {o}: what is {c}',
            'of the {s} and the {o}, tell me which is {c}',
        ),
    },
    Form.CAPTION: {
        'train': (
            'describe the scene',
            'what is on the table',
            'what do you see',
            'what can you see',
            'describe the image',
            'tell me what you see',
            'write a caption',
            'name all objects',
            'give me a caption',
            'list the objects on the table',
            'describe what you see',
            'caption the image',
            'please describe the scene',
            'what is in the image',
        ),
        'heldout': (
            'describe what is on the table',
            'tell me what is on the table',
            'list what you see',
            'write a caption of the image',
            'please describe the image',
            'can you describe the scene',
            'list all objects',
        ),
    },
}
