using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// Applies what is committed, in order. What was just appended is in memory; a backlog after a restart is read in the
/// background, one piece ahead, so that a long replay leaves the loop to the other groups.
/// </summary>
public sealed partial class ReplicaGroup
{
    /// <summary>Bytes applied in one go; a long replay leaves the loop to other groups in between.</summary>
    private const int ApplyBytesPerPump = 8 * 1024 * 1024;

    /// <summary>How long an entry that cannot be read is left alone: its segment may be under repair.</summary>
    private const long ApplyRetryMs = 1_000;

    private List<LogEntry> _applyBuffer = [];
    private List<LogEntry> _readAhead = [];
    private bool _isReadingAhead;
    private long _applyBlockedUntilMs;
    private LogIndex _applied;
    private CommandResult[] _results = new CommandResult[64];

    /// <summary>An entry that is to be applied cannot be read: the state stands still until it is repaired.</summary>
    private bool IsApplyBlocked => _applyBlockedUntilMs > 0;

    private void ApplyCommitted()
    {
        if (_installing is not null)
        {
            // What is not applied yet is part of the snapshot.
            return;
        }

        var commit = _raft.CommitIndex;
        long bytes = 0;
        while (_applied < commit && bytes < ApplyBytesPerPump)
        {
            _applyBuffer.Clear();
            if (_tail.Read(_applied.Next(), commit, Limits.AppendMessageBytes, _applyBuffer) == 0 && !TakeReadAhead())
            {
                return;
            }

            foreach (var entry in _applyBuffer)
            {
                Apply(entry);
                bytes += entry.SizeBytes;
            }
        }

        FinishReads();

        if (_applied < commit)
        {
            Schedule();
        }
    }

    /// <summary>Puts what was read from disk into the apply buffer; false while it is not there.</summary>
    private bool TakeReadAhead()
    {
        if (_readAhead.Count > 0 && _readAhead[0].Index == _applied.Next())
        {
            (_applyBuffer, _readAhead) = (_readAhead, _applyBuffer);
            _readAhead.Clear();
            StartReadAhead(_applyBuffer[^1].Index.Next());
            return true;
        }

        StartReadAhead(_applied.Next());
        return false;
    }

    private void StartReadAhead(LogIndex from)
    {
        var to = _raft.CommitIndex;
        if (_isReadingAhead || from > to || _tail.TryGet(from) is not null || NowMs() < _applyBlockedUntilMs)
        {
            return;
        }

        _isReadingAhead = true;
        RunInBackground(() =>
        {
            var entries = new List<LogEntry>();
            var isRead = TryRead(from, to, Limits.ReadAheadBytes, entries);
            Resume(() => FinishReadAhead(isRead ? entries : null));
        });
    }

    private void FinishReadAhead(List<LogEntry>? entries)
    {
        _isReadingAhead = false;
        _conditionIsStale |= IsApplyBlocked != entries is null;
        _applyBlockedUntilMs = entries is null ? NowMs() + ApplyRetryMs : 0;
        _readAhead = entries ?? [];
    }

    private void Apply(LogEntry entry)
    {
        Invariant.Check(entry.Index == _applied.Next(), "entries are applied in order");
        _lastTimestampUnixMs = Math.Max(_lastTimestampUnixMs, entry.TimestampUnixMs);
        if (entry.Kind == EntryKind.Commands)
        {
            var callers = CountCallers(entry);
            if (callers > _results.Length)
            {
                _results = new CommandResult[Limits.CommandsPerEntry];
            }

            var results = _results.AsSpan(0, callers);
            results.Clear();
            var trace = TakeTrace(entry);
            _machine.Apply(entry, results);
            _applied = entry.Index;
            if (trace is not null)
            {
                TraceApplied(trace);
            }

            Answer(results);
        }
        else if (entry.Kind == EntryKind.Configuration)
        {
            var isKnown = GroupConfiguration.TryDecode(entry.Body.Span, entry.Index, out _appliedConfiguration);
            Invariant.Check(isKnown, "a committed configuration can be read");
        }

        _applied = entry.Index;
        PassSeal();
    }
}
