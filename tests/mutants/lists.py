"""All mutants, by name."""

from tests.mutants.booking import BOOKING
from tests.mutants.books import BOOKS
from tests.mutants.checking import CHECKING
from tests.mutants.claiming import CLAIMING
from tests.mutants.comparing import COMPARING
from tests.mutants.evidence import EVIDENCE
from tests.mutants.fencing import FENCING
from tests.mutants.planned import PLANNED
from tests.mutants.sending import SENDING
from tests.mutants.settling import SETTLING
from tests.mutants.stopping import STOPPING

ALL = (
    *CLAIMING,
    *SENDING,
    *FENCING,
    *SETTLING,
    *BOOKING,
    *EVIDENCE,
    *COMPARING,
    *BOOKS,
    *PLANNED,
    *CHECKING,
    *STOPPING,
)
MUTANTS = {mutant.name: mutant for mutant in ALL}
