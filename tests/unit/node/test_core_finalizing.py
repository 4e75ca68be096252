"""What the core does about files that are to be made."""

from tests.unit.node.conftest import TASK, beat, desired

from edumeet_recording.node.core import NodeCore
from edumeet_recording.node.events import (
    FinalizeEnded,
    FinalizeProgressed,
)
from edumeet_recording.node.instructions import (
    AppendJournal,
    StartFinalize,
    StopFinalize,
)
from edumeet_recording.wire.node_link import (
    FinalizeFailed,
    FinalizeProgress,
)


def test_finalizations_run_within_the_slots_and_are_journaled(core: NodeCore) -> None:
    second = TASK.model_copy(update={"job_id": "j2"})
    assert core.handle(desired(finalize=(TASK, second))) == [StartFinalize(TASK)]
    progress = FinalizeProgress(job_id="j1", attempt=1, phase="mux", fraction=0.5)
    core.handle(FinalizeProgressed(progress))
    assert beat(core).finalizing == (progress,)
    failed = FinalizeFailed(job_id="j1", attempt=1, error="no")
    assert core.handle(FinalizeEnded("j1", 1, failed)) == [AppendJournal(failed), StartFinalize(second)]
    core.handle(FinalizeProgressed(progress))
    assert [each.job_id for each in beat(core).finalizing] == ["j2"], "progress of what is over counts no more"
    assert core.handle(desired(finalize=(TASK, second))) == [], "the orchestrator has yet to hear of it"


def test_a_finalization_that_is_not_desired_any_more_is_stopped_and_can_be_desired_again(core: NodeCore) -> None:
    core.handle(desired(finalize=(TASK,)))
    assert core.handle(desired(revision=2)) == [StopFinalize("j1", 1)]
    assert core.handle(desired(revision=3, finalize=(TASK,))) == [], "the child still ends"
    assert core.handle(FinalizeEnded("j1", 1, None)) == [StartFinalize(TASK)]
