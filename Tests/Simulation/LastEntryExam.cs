namespace Broker.Tests.Simulation;

/// <summary>
/// What every cluster must pass when its faults are over: the last acknowledged entry is hit by a flipped bit, on one
/// replica while the others go on, and on all but one when all are killed. One intact copy is enough.
/// </summary>
internal sealed class LastEntryExam(World world)
{
    /// <summary>A heartbeat, a probe and a pass of the scrubber, by the slowest clock.</summary>
    private const long RepairedWithinUs = 5_000_000;

    /// <summary>Entries that nothing follows get their proof, by the slowest clock and on any disk.</summary>
    private const long QuietUs = 1_000_000;

    private const long MomentWithinUs = 10_000_000;
    private const long StartWithinUs = 500_000;

    public void Run()
    {
        LoseOne();
        LoseAllButOne(isProven: true);
        LoseAllButOne(isProven: false);
    }

    private void LoseOne()
    {
        var node = world.Nodes[world.Random.Next(world.Nodes.Count)];
        if (world.Nodes.Count < 3)
        {
            // There is no majority of others.
            return;
        }

        world.RunUntil(
            () => AllAreEven() && node.TryLoseLast(isProven: false),
            MomentWithinUs,
            "all logs are equal for a moment");
        world.Scheduler.After(world.Random.NextInt64(StartWithinUs), node.Start);
        world.RunUntil(
            () => node.IsUp && !node.IsHurt,
            RepairedWithinUs,
            "a replica that has lost its last entry gets it again at once");
    }

    /// <param name="isProven">Whether the end of the log has its proof; else there is no more than a doubt.</param>
    private void LoseAllButOne(bool isProven)
    {
        var intact = world.Nodes[world.Random.Next(world.Nodes.Count)];
        var others = world.Nodes.Where(node => node != intact).ToArray();
        if (isProven)
        {
            world.ClientsRest = true;
            world.RunFor(QuietUs);
        }

        world.RunUntil(AllAreEven, MomentWithinUs, "all logs are equal for a moment");
        intact.Crash();
        foreach (var other in others.Where(other => !other.TryLoseLast(isProven)))
        {
            // All that it has is a snapshot.
            other.Crash();
        }

        foreach (var node in world.Nodes)
        {
            world.Scheduler.After(world.Random.NextInt64(StartWithinUs), node.Start);
        }

        world.ClientsRest = false;
        world.RunUntilProgress();
        world.RunUntil(
            () => world.Nodes.All(node => !node.IsHurt), World.HealWithinUs, "every replica gets its last entry again");
    }

    /// <summary>All have the same last entry, acknowledged and durable, and nobody writes.</summary>
    private bool AllAreEven()
    {
        var last = world.Nodes[0].LastIndex;
        return world.Nodes.Any(node => node.IsLeader)
            && world.Nodes.All(node => node.IsUp && !node.IsWriting && node.AppliedIndex == last
                && node.LastIndex == last && node.DurableAt(last) is not null);
    }
}
