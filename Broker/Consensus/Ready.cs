using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// What the node asks of its caller: persist, send, apply. The node reuses the object: it is valid until the next call
/// into the node. Messages may be sent before, while or after the rest is persisted: the node itself holds back what
/// must wait.
/// </summary>
public sealed class Ready
{
    /// <summary>
    /// 0: nothing to persist. Otherwise the caller makes HardState, Configuration, Fence, Snapshot, TruncateFrom and
    /// the entries durable, together or in the order named, after those of every earlier Ready, and calls <see
    /// cref="RaftNode.Persisted"/> with this number. Rises by one with each Ready that has something to persist.
    /// </summary>
    public long PersistSequence { get; internal set; }

    public HardState? HardState { get; internal set; }

    /// <summary>
    /// When the configuration in force changed: it and the one before it, which holds again when the latest is
    /// truncated. Durable before the entries of this Ready, so that no log holds a configuration that is not known.
    /// </summary>
    public GroupConfiguration? Configuration { get; internal set; }

    /// <summary>Belongs to Configuration. Null: nothing can fall back beyond it.</summary>
    public GroupConfiguration? PreviousConfiguration { get; internal set; }

    /// <summary>When the fence changed; None: it is lifted.</summary>
    public LogPosition? Fence { get; internal set; }

    /// <summary>
    /// Replace the whole log by this base, with the snapshot that arrived in the message: it is durable before anything
    /// of the old log is removed, together with Configuration. Entries that were committed and not yet applied are part
    /// of it.
    /// </summary>
    public LogPosition? Snapshot { get; internal set; }

    /// <summary>Remove the entries from here on before appending.</summary>
    public LogIndex? TruncateFrom { get; internal set; }

    /// <summary>Append these entries, both ends included; nothing when AppendLast is below AppendFirst.</summary>
    public LogIndex AppendFirst { get; internal set; }

    public LogIndex AppendLast { get; internal set; }

    /// <summary>
    /// Set when the node became leader: the entry at this index, within AppendFirst..AppendLast, is a no-op that the
    /// caller builds, of the term that <see cref="RaftNode.TermAt"/> tells.
    /// </summary>
    public LogIndex? Noop { get; internal set; }

    /// <summary>
    /// Set when this leader changed the membership: the entry at its Index, within AppendFirst..AppendLast, is of kind
    /// Configuration, and the caller builds it from <see cref="GroupConfiguration.Encode"/>.
    /// </summary>
    public GroupConfiguration? AppendedConfiguration { get; internal set; }

    /// <summary>Send these, in this order.</summary>
    public List<RaftMessage> Messages { get; internal set; } = [];

    /// <summary>The reads that were confirmed or refused, see <see cref="RaftNode.TryReadIndex"/>.</summary>
    public IReadOnlyList<ReadResult> Reads => ReadList;

    /// <summary>Apply up to here. Never beyond what this replica itself has flushed.</summary>
    public LogIndex CommitIndex { get; internal set; }

    /// <summary>Role, term or leader changed since the last Ready.</summary>
    public bool StateChanged { get; internal set; }

    public bool HasEntries => AppendLast >= AppendFirst;

    internal List<ReadResult> ReadList { get; set; } = [];
}
