using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// Gives the entries that are to be applied, in order. What was just appended is in memory; a backlog after a restart
/// is read in the background, one piece ahead, so that a long replay leaves the loop to the other groups.
/// </summary>
internal sealed class ApplyReader(IGroupLoop loop, LogEntries entries, GroupBackground background)
{
    /// <summary>How long an entry that cannot be read is left alone: its segment may be under repair.</summary>
    public const long RetryMs = 1_000;

    private List<LogEntry> _next = [];
    private List<LogEntry> _ahead = [];
    private bool _isReading;
    private long _blockedUntilMs;

    /// <summary>An entry that is to be applied cannot be read: the state stands still until it is repaired.</summary>
    public bool IsBlocked => _blockedUntilMs > 0;

    /// <summary>What <see cref="TryRead"/> has read.</summary>
    public List<LogEntry> Next => _next;

    /// <summary>The next entries, from one on; false while they are not there.</summary>
    public bool TryRead(LogIndex from, LogIndex commit)
    {
        _next.Clear();
        return entries.ReadFromMemory(from, commit, Limits.AppendMessageBytes, _next) > 0 || TryTakeAhead(from);
    }

    /// <summary>What was read ahead is not wanted any more.</summary>
    public void ForgetAhead() => _ahead.Clear();

    /// <summary>The state has passed what could not be read.</summary>
    public void Unblock() => _blockedUntilMs = 0;

    private bool TryTakeAhead(LogIndex from)
    {
        if (_ahead.Count > 0 && _ahead[0].Index == from)
        {
            (_next, _ahead) = (_ahead, _next);
            _ahead.Clear();
            StartReading(_next[^1].Index.Next());
            return true;
        }

        StartReading(from);
        return false;
    }

    private void StartReading(LogIndex from)
    {
        var to = loop.Raft.CommitIndex;
        if (_isReading || from > to || entries.TryGet(from) is not null || loop.NowMs < _blockedUntilMs)
        {
            return;
        }

        _isReading = true;
        background.Run(() =>
        {
            var read = new List<LogEntry>();
            var isRead = entries.TryRead(from, to, Limits.ReadAheadBytes, read);
            loop.Resume(() => Finish(isRead ? read : null));
        });
    }

    private void Finish(List<LogEntry>? read)
    {
        _isReading = false;
        if (IsBlocked != read is null)
        {
            loop.ConditionChanged();
        }

        _blockedUntilMs = read is null ? loop.NowMs + RetryMs : 0;
        _ahead = read ?? [];
    }
}
