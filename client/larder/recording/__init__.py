"""A live run: what user code says is appended to a journal and returns at once; nothing here talks to the server.

Nothing here raises into user code either, but for an interrupt: what fails is a warning, and the work goes on. Modules
that only some calls need are imported by those calls, so that `init` costs a training script little.
"""

from larder.recording.begin import attach as attach
from larder.recording.begin import current as current
from larder.recording.begin import init as init
from larder.recording.run import Params as Params
from larder.recording.run import Run as Run
