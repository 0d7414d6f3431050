using System.Buffers.Binary;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// The entries of a replica's log: the newest in memory, the others on the disk. Here they enter, whether this replica
/// makes them or they have arrived; here they get their time; and here they are read.
/// </summary>
internal sealed class LogEntries
{
    private readonly GroupId _group;
    private readonly GroupLog _log;
    private readonly EntryTraces _traces;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly TailCache _tail = new(Limits.TailCacheBytesPerGroup);

    /// <summary>The time of the last entry that was seen: that of the next one must not precede it.</summary>
    private long _lastTimestampUnixMs;

    /// <summary>The times of entries up to here are known only when they are applied.</summary>
    private LogIndex _timeUnknownThrough;

    public LogEntries(GroupId group, GroupLog log, EntryTraces traces, TimeProvider time, ILogger logger)
    {
        _group = group;
        _log = log;
        _traces = traces;
        _time = time;
        _logger = logger;
        _tail.Reset(log.LastIndex);
    }

    /// <summary>After a start, of a state that holds the entries through applied.</summary>
    public void LearnLastTimestamp(LogIndex applied, long appliedUnixMs)
    {
        _lastTimestampUnixMs = appliedUnixMs;
        var entries = new List<LogEntry>(1);
        if (_log.LastIndex <= applied)
        {
            return;
        }

        if (TryRead(_log.LastIndex, _log.LastIndex, int.MaxValue, entries))
        {
            NoteTimestamp(entries[0].TimestampUnixMs);
        }
        else
        {
            _timeUnknownThrough = _log.LastIndex;
        }
    }

    /// <summary>The first entry of a leader says who it is: its number, int32, little endian.</summary>
    public static byte[] BodyOfNoop(NodeId leader)
    {
        var body = new byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(body, leader.Value);
        return body;
    }

    /// <summary>
    /// At a start: who led the term of the last entry; none when that is not known, because its first entry is gone, or
    /// cannot be read, or an older version made it.
    /// </summary>
    public NodeId LeaderOfLastTerm(IReadOnlyList<TermRun> runs)
    {
        var entries = new List<LogEntry>(1);
        if (runs.Count == 0 || !TryRead(runs[^1].First, runs[^1].First, int.MaxValue, entries))
        {
            return NodeId.None;
        }

        return entries[0] is { Kind: EntryKind.Noop, Body.Length: sizeof(int) } noop
            ? new NodeId(BinaryPrimitives.ReadInt32LittleEndian(noop.Body.Span))
            : NodeId.None;
    }

    /// <summary>No command may precede an entry whose time is not known: it waits until this holds.</summary>
    public bool IsTimeKnown(LogIndex applied) => applied >= _timeUnknownThrough;

    public void NoteTimestamp(long unixMs) => _lastTimestampUnixMs = Math.Max(_lastTimestampUnixMs, unixMs);

    /// <summary>A leader's next entry, with a time that is not before that of the one before it.</summary>
    public void Make(LogIndex index, Term term, EntryKind kind, int count, byte[] body)
    {
        NoteTimestamp(_time.GetUtcNow().ToUnixTimeMilliseconds());
        var entry = new LogEntry(index, term, kind, count, _lastTimestampUnixMs, Crc32C.Compute(body), body);
        _tail.Append(entry);
        _traces.Appended(entry, isLeader: true);
    }

    /// <summary>The next entry, which has arrived from the leader.</summary>
    public void Take(LogEntry entry)
    {
        NoteTimestamp(entry.TimestampUnixMs);
        _tail.Append(entry);
        _traces.Appended(entry, isLeader: false);
    }

    public void TruncateFrom(LogIndex from)
    {
        _tail.TruncateFrom(from);
        _traces.TruncateFrom(from);
        _timeUnknownThrough = LogIndex.Min(_timeUnknownThrough, from.Previous());
    }

    /// <summary>A snapshot, which holds the time, stands for everything through last.</summary>
    public void Replace(LogIndex last)
    {
        _tail.Reset(last);
        _timeUnknownThrough = LogIndex.None;
    }

    /// <summary>Entries through here may leave memory when it holds too much.</summary>
    public void Evict(LogIndex through) => _tail.Evict(through);

    /// <summary>Null: it is not in memory.</summary>
    public LogEntry? TryGet(LogIndex index) => _tail.TryGet(index);

    /// <summary>As <see cref="Read"/>, of what is in memory; 0 when the first is not.</summary>
    public int ReadFromMemory(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into) =>
        _tail.Read(from, to, maxBytes, into);

    /// <summary>
    /// Adds entries while maxBytes lasts, at least one when the first exists, and returns their number; 0 for what was
    /// dropped. Any thread; it may wait for the disk.
    /// </summary>
    /// <exception cref="StorageCorruptException">An entry's segment is damaged; it waits for repair.</exception>
    public int Read(
        LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into, bool hollowToo = false)
    {
        var count = _tail.Read(from, to, maxBytes, into);
        return count > 0 ? count : _log.Read(from, to, maxBytes, into, hollowToo);
    }

    /// <summary>
    /// Reads a range, or the first part of it that has maxBytes; says why when there is nothing. Hollow entries, too:
    /// for whoever applies them they are as good. Any thread.
    /// </summary>
    public bool TryRead(LogIndex next, LogIndex last, int maxBytes, List<LogEntry> into) =>
        TryRead(next, last, maxBytes, into, hollowToo: true, out _);

    /// <inheritdoc cref="TryRead(LogIndex, LogIndex, int, List{LogEntry})"/>
    public bool TryRead(
        LogIndex next, LogIndex last, int maxBytes, List<LogEntry> into, bool hollowToo, out bool isDamaged)
    {
        isDamaged = false;
        try
        {
            var bytesLeft = (long)maxBytes;
            while (next <= last && bytesLeft > 0)
            {
                var count = Read(next, last, (int)bytesLeft, into, hollowToo);
                if (count == 0)
                {
                    // Truncated or dropped between the decision and now: Raft sends again what is still to be sent.
                    ReplicationEvents.EntryUnavailable(_logger, _group.Value, next.Value, "it is not in the log");
                    return false;
                }

                for (var i = into.Count - count; i < into.Count; i++)
                {
                    bytesLeft -= into[i].SizeBytes;
                }

                next += count;
            }

            return true;
        }
        catch (IOException failure)
        {
            ReplicationEvents.EntryUnavailable(_logger, _group.Value, next.Value, failure.Message);
            isDamaged = true;
            return false;
        }
    }

    /// <summary>
    /// What the log knows only from disk, which the loop does not wait for, and what the writer may be dropping at this
    /// moment counts as a whole message. When such an entry is read, to be sent, the sizes of those around it become
    /// known.
    /// </summary>
    public int SizeBytesOf(LogIndex index, LogIndex? dropping)
    {
        if (_tail.TryGet(index) is { } entry)
        {
            return entry.SizeBytes;
        }

        var isDropped = index <= dropping;
        return !isDropped && _log.TrySizeBytesOf(index, out var sizeBytes) ? sizeBytes : Limits.AppendMessageBytes;
    }
}
