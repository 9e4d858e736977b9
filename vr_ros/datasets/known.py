"""Public sets: where they are, how their columns are called, and by which figure each is scored."""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from vr_ros.datasets.rules import ANLS, CHOICE, CONTAINED, EXACT, MATHEMATICS, RELAXED, VOTES
from vr_ros.datasets.sample import DataSetError

# Ours: how it is called elsewhere, the first one that there is.
ALIASES: Mapping[str, Sequence[str]] = {
    'image': ('image', 'decoded_image', 'image_1', 'images'),
    'text': ('text', 'question', 'query', 'problem', 'instruction'),
    'mask': ('mask',),
    'bbox': ('bbox',),
    'count': ('count',),
    'answers': ('answers', 'answer'),
    'choices': ('choices', 'options'),
    'image_id': ('image_id', 'docId'),
    # Only where a set is known to have them.
    'points': (),
}
_SHORT = 'Answer with a word or a short phrase.'
_FINAL = 'Give the final answer alone: a number, an expression or a word.'


@dataclass(frozen=True)
class Known:
    """A public set.

    :param hub_id: owner/name.
    :param figure: the main one.
    :param columns: that it must have, besides those that every set must have.
    :param split: which part is meant where none is named; empty: there is but one.
    :param names: theirs for ours, where ALIASES would not find it.
    :param rule: by which answers without choices are scored, see rules.py.
    :param ask: what to say behind a question without choices.
    :param answers_by: how the right choice is told: letter, index or text; empty: as it looks.
    :param context: column with text that belongs before the question.
    :param question: what to ask where there is no text: the question is in the picture.
    :param hides_count: the text says the number that is asked for, which is taken out.
    :param telling: columns that no other set has together: it is known by them.
    :param inside: a regular expression; the answer, or count, is what its last match has in the
        group of it.
    :param is_open: choices are there, but the question can be answered without: they are not shown.
    :param turns: column with a conversation, whose first question and answer are taken.
    :param folder: that paths of images start from.
    :param kind: column with the kind of the question.
    """

    hub_id: str = ''
    figure: str = ''
    columns: Sequence[str] = ()
    split: str = ''
    names: Mapping[str, str] = field(default_factory=dict)
    rule: str = ''
    ask: str = ''
    answers_by: str = ''
    context: str = ''
    question: str = ''
    hides_count: bool = False
    telling: Sequence[str] = ()
    inside: str = ''
    is_open: bool = False
    turns: str = ''
    folder: str = ''
    kind: str = ''


_OWNER = 'Ricky06662'
_REFERRING = ('text', 'mask', 'bbox', 'image_id')
_COUNTED = ('text', 'count', 'image_id')
_EVALUATED = {
    # VisionReasoner's own: one expression for each object, or all of them.
    **{name + all_: Known(f'{_OWNER}/{name}{all_}', 'gIoU', _REFERRING)
       for all_ in ('', '_all') for name in (
           'refcoco_val', 'refcoco_testA', 'refcocoplus_val', 'refcocoplus_testA', 'refcocog_val',
           'refcocog_test')},
    **{name: Known(f'{_OWNER}/{name}', 'gIoU', ('text', 'mask', 'image_id')) for name in (
        'grefcoco_val_all', 'ReasonSeg_val', 'ReasonSeg_test')},
    'coco_val': Known(f'{_OWNER}/coco_val', 'published COCO AP@[.5:.95]',
                      ('text', 'bbox', 'image_id', 'cat_id')),
    **{name: Known(f'{_OWNER}/{name}', 'exact count', _COUNTED) for name in (
        'counting_pixmo_validation', 'counting_pixmo_test', 'counting_countbench')},
    # Counting.
    'pixmo-count': Known('allenai/pixmo-count', 'exact count', split='test',
                         names={'text': 'label', 'image': 'image_url', 'points': 'points'},
                         telling=('image_url', 'count', 'label')),
    'countbench': Known('nielsr/countbench', 'exact count', split='train',
                        names={'count': 'number'}, hides_count=True,
                        telling=('image', 'text', 'number')),
    # Text in pictures.
    'DocVQA': Known('lmms-lab/DocVQA', ANLS, split='DocVQA/validation', rule=ANLS, ask=_SHORT,
                    telling=('questionId', 'docId', 'answers')),
    'ChartQA': Known('lmms-lab/ChartQA', RELAXED, split='test', rule=RELAXED,
                     names={'answers': 'label'}, ask=_SHORT,
                     telling=('query', 'label', 'human_or_machine')),
    'TextVQA': Known('lmms-lab/textvqa', VOTES, split='validation', rule=VOTES, ask=_SHORT,
                     telling=('question', 'answers', 'ocr_tokens')),
    'OCRBench': Known('echo840/OCRBench', CONTAINED, split='test', rule=CONTAINED,
                      telling=('dataset', 'question_type', 'answer')),
    # Mathematics.
    'MathVista': Known('AI4Math/MathVista', 'answer score', split='testmini', rule=MATHEMATICS,
                       ask=_FINAL, answers_by='text', names={'image': 'decoded_image'},
                       telling=('decoded_image', 'unit', 'precision')),
    'MathVerse': Known('AI4Math/MathVerse', 'answer score', split='testmini', rule=MATHEMATICS,
                       ask=_FINAL, answers_by='letter', telling=('problem_version', 'query_cot')),
    'MathVision': Known('MathLLMs/MathVision', 'answer score', split='testmini', rule=MATHEMATICS,
                        ask=_FINAL, answers_by='letter', names={'image': 'decoded_image'},
                        telling=('decoded_image', 'options', 'level')),
    # Science and the rest.
    'ScienceQA': Known('derek-thomas/ScienceQA', CHOICE, split='test', answers_by='index',
                       context='hint', telling=('choices', 'hint', 'lecture')),
    'AI2D': Known('lmms-lab/ai2d', CHOICE, split='test', answers_by='index'),
    'MMMU': Known('MMMU/MMMU', 'answer score', split='*/validation', rule=EXACT, ask=_SHORT,
                  answers_by='letter', telling=('options', 'img_type', 'subfield')),
    'MMMU_Pro': Known('MMMU/MMMU_Pro', CHOICE, split='standard (10 options)/test',
                      answers_by='letter',
                      question='What is the answer to the question in the picture?',
                      telling=('options', 'answer', 'subject')),
    'RealWorldQA': Known('xai-org/RealworldQA', 'answer score', split='test', rule=EXACT,
                         answers_by='letter'),
}
_SCORE = 'answer score'
_BOXED = r'\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}'
_TRAINED_ON = {
    'geometry3k': Known('hiyouga/geometry3k', _SCORE, split='test', rule=MATHEMATICS, ask=_FINAL,
                        is_open=True),
    'MMK12': Known('FanqingM/MMK12', _SCORE, split='test', rule=MATHEMATICS, ask=_FINAL,
                   answers_by='letter'),
    'MM_Math': Known('THU-KEG/MM_Math', _SCORE, rule=MATHEMATICS, ask=_FINAL, inside=_BOXED,
                     names={'image': 'file_name', 'answers': 'solution'}, folder='images'),
    'ViRL39K': Known('TIGER-Lab/ViRL39K', _SCORE, rule=MATHEMATICS, ask=_FINAL, inside=_BOXED,
                     answers_by='letter', kind='category'),
    'PuzzleVQA': Known('declare-lab/PuzzleVQA', _SCORE, split='train', rule=EXACT, ask=_SHORT,
                       is_open=True),
    'AlgoPuzzleVQA': Known('declare-lab/AlgoPuzzleVQA', _SCORE, split='train', rule=EXACT,
                           ask=_SHORT, is_open=True),
    'VisualPuzzles': Known('neulab/VisualPuzzles', CHOICE, answers_by='letter'),
    'ChartQAPro': Known('ahmed-masry/ChartQAPro', RELAXED, split='test', rule=RELAXED, ask=_SHORT,
                        names={'text': 'Question', 'answers': 'Answer'}, context='Paragraph',
                        kind='Question Type', telling=('Question', 'Answer', 'Question Type')),
    'clevr_cogen_a_train': Known('leonardPKU/clevr_cogen_a_train', 'exact count', split='train',
                                 names={'count': 'solution'},
                                 inside=r'<answer>\s*(\d+)\s*</answer>'),
    'LLaVA-OneVision-Data': Known('lmms-lab/LLaVA-OneVision-Data', _SCORE, rule=EXACT,
                                  turns='conversations', telling=('conversations', 'data_source')),
}
KNOWN: Mapping[str, Known] = {**_EVALUATED, **_TRAINED_ON}
_ANYTHING = Known()


def find_known(name: str, columns: Collection[str] = ()) -> Known:
    """Find a public set by its name, whoever owns the copy, else by its columns.

    :param name: of a folder or repository, such as 'DocVQA' or 'lmms-lab/DocVQA'.
    :return: one that demands nothing where it is none of them.
    """
    own = _plain(name.partition('@')[0])
    for known_name, known in KNOWN.items():
        if own in (_plain(known_name), _plain(known.hub_id)):
            return known
    fit = (known for known in KNOWN.values() if known.telling and set(known.telling) <= {*columns})
    return next(fit, _ANYTHING)


def require_rules(rules: Collection[str], where: object) -> None:
    """Make sure that answers can be scored by these rules, before anything is asked.

    :raises DataSetError: if what compares mathematics is not installed.
    """
    if MATHEMATICS in rules and not find_spec('math_verify'):
        raise DataSetError(
            f'{where}: its answers are compared by math-verify: pip install "vr_ros[math]"')


def _plain(name: str) -> str:
    return ''.join(letter for letter in name.rpartition('/')[2].lower() if letter.isalnum())
