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
    /// 0: nothing to persist. Otherwise the caller makes HardState, TruncateFrom and the entries durable, together or
    /// in the order named, after those of every earlier Ready, and calls <see cref="RaftNode.Persisted"/> with this
    /// number. Rises by one with each Ready that has something to persist.
    /// </summary>
    public long PersistSequence { get; internal set; }

    public HardState? HardState { get; internal set; }

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

    /// <summary>Send these, in this order.</summary>
    public List<RaftMessage> Messages { get; internal set; } = [];

    /// <summary>Apply up to here. Never beyond what this replica itself has flushed.</summary>
    public LogIndex CommitIndex { get; internal set; }

    /// <summary>Role, term or leader changed since the last Ready.</summary>
    public bool StateChanged { get; internal set; }

    public bool HasEntries => AppendLast >= AppendFirst;
}
