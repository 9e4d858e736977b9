"""Whether the topics of a node connect, for /diagnostics."""
from __future__ import annotations

from vr_ros.nodes.diagnostics import OK, WARN, Diagnosis
from vr_ros.nodes.topic_watch import TopicWatch


def judge_topics(watch: TopicWatch) -> Diagnosis:
    """Judge the topics of a node by what the graph shows now, and count what happened so far."""
    troubles = watch.troubles()
    values = dict(sorted(troubles.items()))
    values.update((f'incompatible on {topic}', str(count))
                  for topic, count in sorted(watch.incompatible.items()))
    values.update((f'messages lost on {topic}', str(count))
                  for topic, count in sorted(watch.lost.items()))
    if not troubles:
        return Diagnosis('topics', OK, 'every topic connects', values)
    return Diagnosis(
        'topics', WARN, f'not everything connects on {", ".join(sorted(troubles))}', values)
