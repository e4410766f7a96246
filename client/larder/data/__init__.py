"""Data versions: commit a folder, get it anywhere, know what changed, and which run used what.

`larder.data.commit("shelf-images", "photos/")`, `larder.data.get("shelf-images@ready")`,
`larder.data.table("sales@v12").to_arrow()`.
"""

from larder.contract.datasets import Dataset as Dataset
from larder.contract.datasets import Version as Version
from larder.data.cache import Cache as Cache
from larder.data.comparing import diff_tables as diff_tables
from larder.data.connecting import Door as Door
from larder.data.connecting import Ingested as Ingested
from larder.data.connecting import Query as Query
from larder.data.connecting import Records as Records
from larder.data.connecting import ingest as ingest
from larder.data.leaks import Leak as Leak
from larder.data.leaks import Leaks as Leaks
from larder.data.leaks import check_leaks as check_leaks
from larder.data.lineage import lineage as lineage
from larder.data.local import Differences as Differences
from larder.data.progress import Progress as Progress
from larder.data.splitting import Split as Split
from larder.data.splitting import split as split
from larder.data.tables import Table as Table
from larder.data.validating import Aside as Aside
from larder.data.validating import quarantined as quarantined
from larder.data.validating import restore as restore
from larder.data.verbs import add as add
from larder.data.verbs import alias as alias
from larder.data.verbs import aliases as aliases
from larder.data.verbs import check as check
from larder.data.verbs import commit as commit
from larder.data.verbs import create as create
from larder.data.verbs import dataset as dataset
from larder.data.verbs import datasets as datasets
from larder.data.verbs import delete as delete
from larder.data.verbs import diff as diff
from larder.data.verbs import export as export
from larder.data.verbs import gc as gc
from larder.data.verbs import get as get
from larder.data.verbs import import_ as import_
from larder.data.verbs import log as log
from larder.data.verbs import ls as ls
from larder.data.verbs import merge as merge
from larder.data.verbs import read as read
from larder.data.verbs import resolve as resolve
from larder.data.verbs import rm as rm
from larder.data.verbs import squash as squash
from larder.data.verbs import stats as stats
from larder.data.verbs import table as table
from larder.data.verbs import tag as tag
from larder.data.verbs import unalias as unalias
from larder.data.verbs import used as used
from larder.data.verbs import verify as verify
from larder.data.verbs import watch as watch
