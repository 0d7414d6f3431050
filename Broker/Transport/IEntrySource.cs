using Broker.Domain;

namespace Broker.Transport;

/// <summary>The committed entries of one group, for a peer that has lost some of them. Any thread.</summary>
public interface IEntrySource
{
    /// <summary>The first entry that is kept here.</summary>
    LogIndex FirstIndex { get; }

    /// <summary>The last entry that is known to be committed.</summary>
    LogIndex CommittedIndex { get; }

    /// <summary>The term of an entry; <see cref="Term.None"/> when it is not kept here.</summary>
    Term TermAt(LogIndex index);

    /// <summary>
    /// Whether what some entries of this range say is not kept here, as others keep it (GroupLog.HollowSegment).
    /// </summary>
    bool HasGivenUp(LogIndex first, LogIndex last) => false;

    /// <summary>
    /// Adds entries in log order until maxBytes would be exceeded; the first one whatever its size. Returns their
    /// number, 0 when there is none at <paramref name="from"/>.
    /// </summary>
    /// <exception cref="IOException">The entries are damaged here too, or cannot be read.</exception>
    int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into);
}
