using Broker.Domain;

namespace Broker.Replication;

/// <summary>What the state machine answers to one committed command.</summary>
public record struct CommandResult
{
    /// <summary>None: the command took effect, or had taken effect before.</summary>
    public RefusalCode Code { get; set; }

    /// <summary>
    /// Offset of the batch's first record; -1: a duplicate whose offset is no longer remembered. For a purge the first
    /// offset that the topic keeps, and on OutOfRange its next one.
    /// </summary>
    public long BaseOffset { get; set; }

    /// <summary>Records in the batch; 0 for a purge.</summary>
    public int Count { get; set; }

    /// <summary>The command had taken effect before; the other fields repeat its first answer.</summary>
    public bool Duplicate { get; set; }

    /// <summary>Time of the entry that stored the batch. 0: a duplicate whose time is no longer remembered.</summary>
    public long TimestampUnixMs { get; set; }

    /// <summary>The number of the topic in its shard, for a command on one that is there.</summary>
    public int Topic { get; set; }

    /// <summary>
    /// On OutOfSequence the producer's next sequence, on ProducerFenced its current epoch; 0 otherwise.
    /// </summary>
    public ulong Expected { get; set; }

    /// <summary>Of several publishes that are refused together: the one for which they are, from 0.</summary>
    public int Part { get; set; }

    /// <summary>Of several publishes that were stored together: what each has come to. Null: it is one.</summary>
    public CommandResult[]? Parts { get; set; }
}
