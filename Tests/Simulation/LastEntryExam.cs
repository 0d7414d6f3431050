namespace Broker.Tests.Simulation;

/// <summary>
/// What every cluster must pass when its faults are over: the last acknowledged entry of a group is hit by a flipped
/// bit, on one replica while the others go on, and on all but one when all are killed. One intact copy is enough.
/// </summary>
internal sealed class LastEntryExam(World world)
{
    /// <summary>A heartbeat, a probe and a pass of the scrubber, by the slowest clock.</summary>
    private const long RepairedWithinUs = 5_000_000;

    /// <summary>Entries that nothing follows get their proof, by the slowest clock and on any disk.</summary>
    private const long QuietUs = 1_000_000;

    /// <summary>Seconds in which a leader may still have something to do while clients rest.</summary>
    private const int MostDuties = 100;

    private const long StartWithinUs = 500_000;

    private SimulatedGroup AnyGroup =>
        world.Groups.Count == 1 ? world.Groups[0] : world.Groups[world.Random.Next(world.Groups.Count)];

    public void Run()
    {
        LoseOne(AnyGroup);
        LoseAllButOne(AnyGroup, isProven: true);
        LoseAllButOne(AnyGroup, isProven: false);
    }

    private void LoseOne(SimulatedGroup group)
    {
        var voters = group.Voters();
        var machine = voters[world.Random.Next(voters.Length)].Machine;
        if (world.LeastVoters < 3)
        {
            // There is no majority of others.
            return;
        }

        var replica = group.NodeOf(machine.Id.Value);
        world.RunUntilEven(group, () => machine.TryLoseLast(replica, isProven: false));
        world.Scheduler.After(world.Random.NextInt64(StartWithinUs), machine.Start);
        world.RunUntil(
            () => replica.IsUp && !replica.IsHurt,
            RepairedWithinUs,
            "a replica that has lost its last entry gets it again at once");
    }

    /// <param name="group">The group whose entry is lost; all machines are killed.</param>
    /// <param name="isProven">Whether the end of the log has its proof; else there is no more than a doubt.</param>
    private void LoseAllButOne(SimulatedGroup group, bool isProven)
    {
        if (isProven)
        {
            world.ClientsRest = true;
            world.RunFor(QuietUs);
            world.RunUntilTrimmed();
            RunUntilQuiet(group);
        }
        else
        {
            world.RunUntilEven(group);
        }

        // Only now, since who votes may have changed meanwhile; of a shard not all that hold it need vote.
        var members = group.Nodes.First(static node => node.IsLeader).Members;
        var voters = group.Nodes.Where(node => members.IsVoter(node.Id)).ToArray();
        var intact = voters[world.Random.Next(voters.Length)].Machine;
        intact.Crash();
        foreach (var other in world.Machines.Where(other => other != intact))
        {
            if (group.FindNode(other.Id.Value) is not { } replica || !voters.Contains(replica)
                || !other.TryLoseLast(replica, isProven))
            {
                // It has no vote, or all that it has is a snapshot.
                other.Crash();
            }
        }

        foreach (var machine in world.Machines)
        {
            world.Scheduler.After(world.Random.NextInt64(StartWithinUs), machine.Start);
        }

        world.ClientsRest = false;
        world.RunUntilProgress();
        world.RunUntil(
            () => world.Machines.All(static machine => !machine.IsHurt),
            World.HealWithinUs,
            "every replica gets its last entry again");
    }

    /// <summary>
    /// Until nothing was appended for so long that the last entry has its proof. Leaders have duties that are due by
    /// time, such as a delete marker that is over.
    /// </summary>
    private void RunUntilQuiet(SimulatedGroup group)
    {
        for (var tries = 0; ; tries++)
        {
            World.Check(tries < MostDuties, "leaders come to an end with what they have to do");
            var last = group.Nodes[0].LastIndex;
            world.RunFor(QuietUs);
            world.RunUntilEven(group);
            if (group.Nodes[0].LastIndex == last)
            {
                return;
            }
        }
    }

    /// <summary>All have the same last entry, acknowledged and durable, and nobody writes.</summary>
    public static bool IsEven(SimulatedGroup group)
    {
        var last = group.Nodes[0].LastIndex;
        return group.Nodes.Any(static node => node.IsLeader)
            && group.Nodes.All(node => node.IsUp && !node.IsWriting && node.AppliedIndex == last
                && node.LastIndex == last && node.DurableAt(last) is not null);
    }
}
