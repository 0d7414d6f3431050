using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// An operator's word that the group goes on from this replica alone, while it waits for those that must give up their
/// votes first.
/// </summary>
internal sealed class ForcedRecovery(IEnumerable<NodeId> others)
{
    private readonly HashSet<NodeId> _awaited = [.. others];

    public bool IsAgreed => _awaited.Count == 0;

    public void Agree(NodeId other) => _awaited.Remove(other);

    /// <summary>
    /// Whether each majority of a configuration has the replica that goes on, or one that gives up its vote: then
    /// nobody is elected by it any more, whatever those do that are not asked.
    /// </summary>
    public static bool Covers(GroupConfiguration configuration, NodeId self, IReadOnlyCollection<NodeId> others)
    {
        var silent = configuration.Voters.Count(voter => voter != self && !others.Contains(voter));
        return silent < Quorum.Majority(configuration.Voters.Length);
    }
}
