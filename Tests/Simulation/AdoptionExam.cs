using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// What every cluster must pass when its faults are over: a replica starts that has to apply a segment which it cannot
/// read, and which the others have dropped meanwhile, while it holds all entries behind it. It goes over to the
/// leader's snapshot beside its own log, and the damaged segment goes when it drops its log in turn.
/// </summary>
internal sealed class AdoptionExam(World world)
{
    private const int Fillings = 40;
    private const int FillingRecords = 40;
    private const long FillUs = 200_000;
    private const long WithinUs = 10_000_000;
    private const long HealWithinUs = 60_000_000;

    public void Run()
    {
        var group = world.AnyGroupOfVoters();
        if (world.LeastVoters < 3)
        {
            return;
        }

        world.ClientsRest = true;
        if (TryFill(group, out var victim, out var last))
        {
            Lose(group, victim, last);
        }

        world.ClientsRest = false;
    }

    /// <summary>False: nothing comes about that could be lost so, e.g. because segments are large.</summary>
    private bool TryFill(SimulatedGroup group, out ReplicaNode victim, out LogIndex last)
    {
        for (var filling = 0; filling < Fillings; filling++)
        {
            Publish(group);
            world.RunFor(FillUs);
            var leader = group.Nodes.OfType<ReplicaNode>().FirstOrDefault(static node => node.IsLeader);
            var followers = group.Nodes.OfType<ReplicaNode>().Where(node => node != leader).ToArray();
            victim = followers[world.Random.Next(followers.Length)];
            if (leader?.SnapshotBehindBase is { } snapshot && victim.LastIndex >= snapshot
                && victim.TryChooseUnapplied(snapshot, out last))
            {
                return true;
            }
        }

        (victim, last) = ((ReplicaNode)group.Nodes[0], LogIndex.None);
        return false;
    }

    private void Lose(SimulatedGroup group, ReplicaNode victim, LogIndex last)
    {
        world.RunUntilEven(group);
        victim.Machine.Crash();
        if (!victim.TryLoseUnapplied())
        {
            // Meanwhile the segment has become a part of another one, or was dropped.
            victim.Machine.Start();
            return;
        }

        var others = group.Nodes.OfType<ReplicaNode>().Where(node => node != victim).ToArray();
        for (var waitedUs = 0L; waitedUs < WithinUs && others.Any(other => other.BaseIndex < last); waitedUs += FillUs)
        {
            if (others.FirstOrDefault(static node => node.IsLeader) is { } leader)
            {
                SimulatedGroup.PurgeAll(leader);
            }

            world.RunFor(FillUs);
        }

        victim.Machine.Start();
        for (var waitedUs = 0L; victim.IsHurt; waitedUs += FillUs)
        {
            World.Check(waitedUs < HealWithinUs, $"node {victim.Id} goes on behind a segment that nobody has any more");
            Publish(group);
            if (group.Nodes.OfType<ReplicaNode>().FirstOrDefault(static node => node.IsLeader) is { } leader)
            {
                SimulatedGroup.PurgeAll(leader);
            }

            world.RunFor(FillUs);
        }
    }

    private static void Publish(SimulatedGroup group) =>
        group.Nodes.FirstOrDefault(static node => node.IsLeader)?.Propose(FillingRecords);
}
