namespace Broker.Tests.Simulation;

/// <summary>
/// A leader that is cut off fills a segment with what does not commit, and while it is down a bit flips in what the
/// segment keeps when the next leader takes the rest back. Nobody mends a segment that is appended to, so it must not
/// become that one unseen.
/// </summary>
internal sealed class ReopeningExam(World world)
{
    private const int Fillings = 60;
    private const int FillingRecords = 20;

    /// <summary>A leader that reaches nobody leads no longer than the longest election timeout.</summary>
    private const long FillUs = 10_000;

    private const long LedWithinUs = 20_000_000;
    private const long HealWithinUs = 60_000_000;

    public void Run()
    {
        var group = world.AnyGroupOfVoters();
        if (world.LeastVoters < 3)
        {
            return;
        }

        world.ClientsRest = true;
        world.RunUntilEven(group);
        var victim = (ReplicaNode)group.Nodes.First(static node => node.IsLeader);
        world.Network.Isolate(victim.Id.Value);
        if (TryFill(victim))
        {
            world.RunUntil(
                () => group.Nodes.Any(node => node.IsLeader && node != victim), LedWithinUs, "another one leads");
            victim.Machine.Crash();
            victim.LoseReopened();
            world.Figures.Count(Figure.SegmentReopened);
            victim.Machine.Start();
        }

        world.Network.Mend();
        world.RunUntil(
            () => !victim.IsHurt && LastEntryExam.IsEven(group),
            HealWithinUs,
            "a replica is whole again that goes back into a damaged segment");
        world.ClientsRest = false;
    }

    /// <summary>False: nothing comes about that could be damaged so, e.g. because segments are large.</summary>
    private bool TryFill(ReplicaNode victim)
    {
        for (var filling = 0; filling < Fillings && victim.IsLeader; filling++)
        {
            victim.Propose(FillingRecords);
            world.RunFor(FillUs);
            if (victim.TryChooseReopened())
            {
                return true;
            }
        }

        return false;
    }
}
