# The operators by name. Made by `python -m rxpipe.views.pages --write`; do not edit.

from rxpipe.operators.aggregate.aggregate import aggregate as aggregate
from rxpipe.operators.aggregate.anomaly import anomaly as anomaly
from rxpipe.operators.aggregate.changes import changes as changes
from rxpipe.operators.aggregate.delta import delta as delta
from rxpipe.operators.aggregate.histogram import histogram as histogram
from rxpipe.operators.aggregate.moving_average import moving_average as moving_average
from rxpipe.operators.aggregate.per_second import per_second as per_second
from rxpipe.operators.aggregate.pivot import pivot as pivot
from rxpipe.operators.aggregate.sessionize import sessionize as sessionize
from rxpipe.operators.aggregate.top import top as top
from rxpipe.operators.batching.buffer import buffer as buffer
from rxpipe.operators.files.from_stdin import from_stdin as from_stdin
from rxpipe.operators.files.list_files import list_files as list_files
from rxpipe.operators.files.multiline import multiline as multiline
from rxpipe.operators.files.read_csv import read_csv as read_csv
from rxpipe.operators.files.read_lines import read_lines as read_lines
from rxpipe.operators.files.read_table import read_table as read_table
from rxpipe.operators.files.watch import watch as watch
from rxpipe.operators.flow.combine_latest import combine_latest as combine_latest
from rxpipe.operators.flow.concat import concat as concat
from rxpipe.operators.flow.conflate import conflate as conflate
from rxpipe.operators.flow.join import join as join
from rxpipe.operators.flow.map_async import map_async as map_async
from rxpipe.operators.flow.merge import merge as merge
from rxpipe.operators.flow.on_slow import on_slow as on_slow
from rxpipe.operators.flow.parallel import parallel as parallel
from rxpipe.operators.flow.route import route as route
from rxpipe.operators.flow.skip import skip as skip
from rxpipe.operators.flow.split import split as split
from rxpipe.operators.flow.start_with import start_with as start_with
from rxpipe.operators.flow.switch import switch as switch
from rxpipe.operators.flow.take import take as take
from rxpipe.operators.flow.tap import tap as tap
from rxpipe.operators.flow.with_latest import with_latest as with_latest
from rxpipe.operators.flow.zip import zip as zip
from rxpipe.operators.records.call import call as call
from rxpipe.operators.records.cast import cast as cast
from rxpipe.operators.records.dedupe import dedupe as dedupe
from rxpipe.operators.records.derive import derive as derive
from rxpipe.operators.records.enrich import enrich as enrich
from rxpipe.operators.records.explode import explode as explode
from rxpipe.operators.records.flatten import flatten as flatten
from rxpipe.operators.records.mask import mask as mask
from rxpipe.operators.records.of_type import of_type as of_type
from rxpipe.operators.records.parse_csv import parse_csv as parse_csv
from rxpipe.operators.records.parse_json import parse_json as parse_json
from rxpipe.operators.records.parse_text import parse_text as parse_text
from rxpipe.operators.records.rename import rename as rename
from rxpipe.operators.records.select import select as select
from rxpipe.operators.records.sequence import sequence as sequence
from rxpipe.operators.records.validate import validate as validate
from rxpipe.operators.records.where import where as where
from rxpipe.operators.sinks.to_callback import to_callback as to_callback
from rxpipe.operators.sinks.to_csv import to_csv as to_csv
from rxpipe.operators.sinks.to_dead_letters import to_dead_letters as to_dead_letters
from rxpipe.operators.sinks.to_http import to_http as to_http
from rxpipe.operators.sinks.to_jsonl import to_jsonl as to_jsonl
from rxpipe.operators.sinks.to_log import to_log as to_log
from rxpipe.operators.sinks.to_parquet import to_parquet as to_parquet
from rxpipe.operators.sinks.to_plot import to_plot as to_plot
from rxpipe.operators.sinks.to_prometheus import to_prometheus as to_prometheus
from rxpipe.operators.sinks.to_sqlite import to_sqlite as to_sqlite
from rxpipe.operators.sinks.to_stdout import to_stdout as to_stdout
from rxpipe.operators.sinks.to_terminal import to_terminal as to_terminal
from rxpipe.operators.sinks.write_lines import write_lines as write_lines
from rxpipe.operators.tasks.budget import budget as budget
from rxpipe.operators.tasks.chat import chat as chat
from rxpipe.operators.tasks.http import http as http
from rxpipe.operators.tasks.limit import limit as limit
from rxpipe.operators.tasks.render import render as render
from rxpipe.operators.tasks.report import report as report
from rxpipe.operators.tasks.retry import retry as retry
from rxpipe.operators.tasks.shell import shell as shell
from rxpipe.operators.tasks.tasks import tasks as tasks
from rxpipe.operators.tasks.to_progress import to_progress as to_progress
from rxpipe.operators.tasks.write_file import write_file as write_file
from rxpipe.operators.time.at import at as at
from rxpipe.operators.time.debounce import debounce as debounce
from rxpipe.operators.time.delay import delay as delay
from rxpipe.operators.time.interval import interval as interval
from rxpipe.operators.time.rate import rate as rate
from rxpipe.operators.time.sample import sample as sample
from rxpipe.operators.time.throttle import throttle as throttle
from rxpipe.operators.time.timeout import timeout as timeout
from rxpipe.operators.windows.window import window as window

__all__ = [
    "aggregate",
    "anomaly",
    "at",
    "budget",
    "buffer",
    "call",
    "cast",
    "changes",
    "chat",
    "combine_latest",
    "concat",
    "conflate",
    "debounce",
    "dedupe",
    "delay",
    "delta",
    "derive",
    "enrich",
    "explode",
    "flatten",
    "from_stdin",
    "histogram",
    "http",
    "interval",
    "join",
    "limit",
    "list_files",
    "map_async",
    "mask",
    "merge",
    "moving_average",
    "multiline",
    "of_type",
    "on_slow",
    "parallel",
    "parse_csv",
    "parse_json",
    "parse_text",
    "per_second",
    "pivot",
    "rate",
    "read_csv",
    "read_lines",
    "read_table",
    "rename",
    "render",
    "report",
    "retry",
    "route",
    "sample",
    "select",
    "sequence",
    "sessionize",
    "shell",
    "skip",
    "split",
    "start_with",
    "switch",
    "take",
    "tap",
    "tasks",
    "throttle",
    "timeout",
    "to_callback",
    "to_csv",
    "to_dead_letters",
    "to_http",
    "to_jsonl",
    "to_log",
    "to_parquet",
    "to_plot",
    "to_progress",
    "to_prometheus",
    "to_sqlite",
    "to_stdout",
    "to_terminal",
    "top",
    "validate",
    "watch",
    "where",
    "window",
    "with_latest",
    "write_file",
    "write_lines",
    "zip",
]
