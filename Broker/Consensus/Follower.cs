using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// A leader's knowledge of one follower. While it probes, one AppendEntries is under way at a time and finds where the
/// logs agree; then entries are sent without waiting (Raft thesis 10.2.1), up to a window of bytes.
/// </summary>
internal sealed class Follower(NodeId id, LogIndex nextIndex, long nowMs)
{
    private readonly Queue<(LogIndex Last, int SizeBytes)> _inFlight = new();

    public NodeId Id { get; } = id;

    public LogIndex MatchIndex { get; private set; }

    /// <summary>Always above MatchIndex.</summary>
    public LogIndex NextIndex { get; private set; } = nextIndex;

    public bool IsProbing { get; private set; } = true;

    /// <summary>
    /// While probing: a probe is under way, nothing more is sent until an answer or a heartbeat's answer.
    /// </summary>
    public bool ProbeSent { get; set; }

    public long InFlightBytes { get; private set; }

    public long LastContactMs { get; set; } = nowMs;

    /// <summary>The highest commit index that an AppendEntries has carried.</summary>
    public LogIndex SentCommitIndex { get; set; }

    public void Sent(LogIndex last, int sizeBytes)
    {
        if (IsProbing)
        {
            ProbeSent = true;
            return;
        }

        Invariant.Check(last >= NextIndex, "what is sent to a follower begins at its next index");
        NextIndex = last.Next();
        _inFlight.Enqueue((last, sizeBytes));
        InFlightBytes += sizeBytes;
    }

    /// <summary>The follower acknowledged entries; false when that was known.</summary>
    public bool TryAdvance(LogIndex match)
    {
        while (_inFlight.TryPeek(out var oldest) && oldest.Last <= match)
        {
            InFlightBytes -= oldest.SizeBytes;
            _inFlight.Dequeue();
        }

        if (match <= MatchIndex)
        {
            return false;
        }

        MatchIndex = match;
        NextIndex = LogIndex.Max(NextIndex, match.Next());
        return true;
    }

    /// <summary>The logs agree up to an index: entries flow from there on without waiting.</summary>
    public void BecomeReplicating(LogIndex agreed)
    {
        ClearInFlight();
        IsProbing = false;
        ProbeSent = false;
        NextIndex = LogIndex.Max(MatchIndex, agreed).Next();
    }

    /// <summary>Something was lost: find again where the logs agree.</summary>
    public void BecomeProbing(LogIndex nextIndex)
    {
        ClearInFlight();
        IsProbing = true;
        ProbeSent = false;
        NextIndex = LogIndex.Max(nextIndex, MatchIndex.Next());
    }

    private void ClearInFlight()
    {
        _inFlight.Clear();
        InFlightBytes = 0;
    }
}
