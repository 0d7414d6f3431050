using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// One unit of work for the log writer: what must be durable before the replica answers. Executed in the order hard
/// state, truncation, entries. Built by one thread, then handed to the writer; reusable after <see cref="Clear"/>.
/// </summary>
public sealed class LogWrite
{
    /// <summary>The new term and vote; null when they do not change.</summary>
    public HardState? HardState { get; set; }

    /// <summary>The first index to remove; null when nothing is removed.</summary>
    public LogIndex? TruncateFrom { get; set; }

    /// <summary>Consecutive entries that follow what remains of the log.</summary>
    public List<LogEntry> Entries { get; } = [];

    public bool IsEmpty => HardState is null && TruncateFrom is null && Entries.Count == 0;

    /// <summary>Bytes of the entries as they lie on disk, without padding.</summary>
    public long SizeBytes
    {
        get
        {
            var sum = 0L;
            foreach (var entry in Entries)
            {
                sum += entry.SizeBytes;
            }

            return sum;
        }
    }

    public void Clear()
    {
        HardState = null;
        TruncateFrom = null;
        Entries.Clear();
    }
}
