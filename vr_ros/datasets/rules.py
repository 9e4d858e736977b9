"""Names of the rules by which data sets score answers. What they do: metrics/rules.py."""
from __future__ import annotations

EXACT, ANLS, RELAXED = 'VQA exact', 'ANLS', 'relaxed accuracy'
CHOICE, VOTES, CONTAINED, MATHEMATICS = (
    'choice accuracy', 'VQA accuracy', 'answer contained', 'mathematics')
RULES = (EXACT, ANLS, RELAXED, CHOICE, VOTES, CONTAINED, MATHEMATICS)
