using Broker.Domain;
using Broker.Replication;
using Broker.Storage;
using Broker.Transport;

namespace Broker.Cluster;

/// <summary>A group's committed entries, straight from its log, for peers that repair theirs.</summary>
internal sealed class GroupEntries(GroupLog log, ReplicaGroup group) : IEntrySource
{
    public LogIndex FirstIndex => log.FirstIndex;

    public LogIndex CommittedIndex => group.Status.CommitIndex;

    public Term TermAt(LogIndex index)
    {
        if (index < log.FirstIndex || index > log.LastIndex)
        {
            return Term.None;
        }

        var term = Term.None;
        foreach (var run in log.TermRuns)
        {
            if (run.First > index)
            {
                break;
            }

            term = run.Term;
        }

        return term;
    }

    public bool HasGivenUp(LogIndex first, LogIndex last) => log.SealedSegments.Any(
        segment => segment.First <= last && segment.HollowThrough >= first);

    public int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into)
    {
        try
        {
            return from < log.FirstIndex ? 0 : log.Read(from, to, maxBytes, into);
        }
        catch (ArgumentOutOfRangeException) when (from < log.FirstIndex)
        {
            // Dropped between the look and the read.
            return 0;
        }
        catch (HollowSegmentException)
        {
            return 0; // Given up between the look and the read.
        }
    }
}
