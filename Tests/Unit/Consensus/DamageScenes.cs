using Broker.Consensus;
using Broker.Domain;

namespace Broker.Tests.Unit.Consensus;

/// <summary>What the tests of damaged replicas begin with; replica 3 is the one that is hurt.</summary>
internal static class DamageScenes
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

    public static Cluster ThreeWithTenEntries(out Replica leader)
    {
        var cluster = new Cluster(3);
        leader = cluster.Elect(1);
        for (var value = 1; value <= 10; value++)
        {
            leader.Propose(value);
        }

        cluster.Run(200);
        return cluster;
    }

    public static RaftMessage VoteRequest(RaftMessageKind kind, int term, int last) => new()
    {
        Kind = kind,
        From = Two,
        To = Three,
        Term = new Term(term),
        LogIndex = new LogIndex(last),
        LogTerm = new Term(1),
    };

    public static RaftMessage Heartbeat(int term = 1, int learnerSince = 0, long context = 0) => new()
    {
        Kind = RaftMessageKind.Heartbeat,
        From = One,
        To = Three,
        Term = new Term(term),
        LearnerSince = new LogIndex(learnerSince),
        Context = context,
    };
}
