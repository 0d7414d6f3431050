namespace Broker.Tests.Simulation;

/// <summary>
/// A replica loses its disk, its leader makes it a learner anew, and before it hears of that it loses its disk once
/// more: what the leader offers then is of before this loss, and may not be taken. What it acknowledged in between is
/// gone.
/// </summary>
internal sealed class LostTwiceExam(World world)
{
    private const long LearnsWithinUs = 20_000_000;
    private const long HealWithinUs = 60_000_000;

    public void Run()
    {
        var group = world.AnyGroupOfVoters();
        if (world.LeastVoters < 3)
        {
            return;
        }

        world.RunUntilEven(group);
        var voters = group.Nodes.Where(static node => !node.IsLeader && node.Members.IsVoter(node.Id)).ToArray();
        var victim = (ReplicaNode)voters[world.Random.Next(voters.Length)];
        victim.LoseAll();
        world.RunUntil(
            () => group.Nodes.Any(node => node.IsLeader && !node.Members.IsVoter(victim.Id)),
            LearnsWithinUs,
            "who has lost everything votes no more");
        world.Figures.Count(Figure.LostTwice, victim.DurableHardState.IsLost ? 1 : 0);
        victim.LoseAll();
        world.RunUntil(
            () => !victim.IsHurt && LastEntryExam.IsEven(group),
            HealWithinUs,
            "who has lost everything twice is whole again");
    }
}
