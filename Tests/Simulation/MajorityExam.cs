using Broker.Cluster;
using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// What every cluster must pass at last: all replicas of a group but one, or but two of which one is out of reach,
/// lose what they have promised. Who is elected even so has everything; where nobody can be, an operator has the group
/// go on from the best one, and nothing that was acknowledged there is lost, whatever the one does that comes back into
/// reach.
/// </summary>
internal sealed class MajorityExam(World world)
{
    private const long QuietUs = 1_000_000;
    private const long GoOnWithinUs = 10_000_000;
    private const long StartWithinUs = 500_000;

    /// <summary>Doubts are over, and whoever can be elected is.</summary>
    private const long ElectedWithinUs = 12_000_000;

    private const long LedWithinUs = 20_000_000;

    /// <summary>Who has lost its log gets it again, on a slow disk entry by entry.</summary>
    private const long EntryWithinUs = 10_000;
    private const long AskAgainUs = 3_000_000;
    private const long MeddleUs = 5_000_000;

    private Random Random => world.Random;

    public void Run()
    {
        var group = world.AnyGroupOfVoters();
        var kept = (ReplicaNode)group.Nodes[Random.Next(group.Nodes.Count)];
        var others = group.Nodes.OfType<ReplicaNode>().Where(node => node != kept).ToArray();
        var gone = others.Length > 1 && Random.Next(3) > 0 ? others[Random.Next(others.Length)] : null;
        ReplicaNode[] damaged = [.. others.Where(node => node != gone)];
        Rest(group);
        if (gone is not null && Random.Next(2) == 0)
        {
            GoOnWithout(group, kept);
        }

        LosePromises(group, gone, damaged);
        world.RunFor(ElectedWithinUs);
        if (group.Nodes.Any(static node => node.IsLeader))
        {
            world.Figures.Count(Figure.LeaderInSpiteOfDamage);
        }
        else
        {
            Recover(group, gone);
            Meddle(group, gone, damaged);
        }

        world.Network.Mend();
        RestartSuperseded(group);
        var withinUs = LedWithinUs + (EntryWithinUs * group.Nodes.Max(static node => node.LastIndex.Value));
        world.RunUntil(
            () => LastEntryExam.IsEven(group), withinUs, "all have what is left when a majority was damaged");
        world.ClientsRest = false;
        world.RunUntilProgress(LedWithinUs, "progress after a majority was damaged");
        world.RunUntil(
            () => group.Nodes.All(node => !node.IsHurt && node.Members.IsVoter(node.Id)),
            World.HealWithinUs,
            "every replica is a member again after a majority was damaged");
    }

    /// <summary>Nobody publishes, and all logs are equal.</summary>
    private void Rest(SimulatedGroup group)
    {
        world.ClientsRest = true;
        world.RunFor(QuietUs);
        world.RunUntilTrimmed();
        world.RunUntilEven(group);
    }

    /// <summary>
    /// Nothing of a client's commits: the leader commits what an operator wants, or another one its first entry.
    /// </summary>
    private void GoOnWithout(SimulatedGroup group, ReplicaNode kept)
    {
        var before = group.Nodes.Max(static node => node.Term);
        var leader = group.Nodes.FirstOrDefault(static node => node.IsLeader);
        if (leader is not null && leader != kept && Random.Next(2) == 0)
        {
            world.Network.Isolate(kept.Id.Value);
            var last = leader.LastIndex;
            leader.Purge("load");
            world.RunUntil(
                () => group.Nodes.Where(node => node != kept).All(node => node.AppliedIndex > last),
                GoOnWithinUs,
                "the others go on without one");
            return;
        }

        if (leader is not null && leader != kept)
        {
            var heirs = group.Nodes.Where(node => node != kept && node != leader).ToArray();
            leader.Transfer(heirs[Random.Next(heirs.Length)].Id);
        }

        world.Network.Isolate(kept.Id.Value);
        world.RunUntil(
            () => group.Nodes.Any(node => node.IsLeader && node != kept && node.Term > before
                && node.AppliedIndex == node.LastIndex),
            GoOnWithinUs,
            "the others go on without one");
    }

    /// <summary>Who is out of reach may have died, too; if not, it knows what has committed.</summary>
    private void LosePromises(SimulatedGroup group, ReplicaNode? gone, ReplicaNode[] damaged)
    {
        world.Figures.Count(Figure.MajorityDamaged);
        foreach (var node in damaged)
        {
            node.TryChooseLast();
        }

        var survives = Random.Next(2) == 0;
        foreach (var machine in world.Machines.Where(machine => !survives || machine != gone?.Machine))
        {
            machine.Crash();
            machine.Disk.Heal();
        }

        world.Network.Mend();
        if (gone is not null)
        {
            world.Network.Isolate(gone.Id.Value);
        }

        var isEnd = Random.Next(2) == 0;
        foreach (var node in damaged)
        {
            node.LosePromises(isEnd);
        }

        foreach (var machine in world.Machines)
        {
            world.Scheduler.After(Random.NextInt64(StartWithinUs), machine.Start);
        }

        world.RunFor(StartWithinUs);
        World.Check(group.Nodes.All(static node => node.IsUp), $"all start after a majority was damaged");
    }

    /// <summary>The operator asks until it is done.</summary>
    private void Recover(SimulatedGroup group, ReplicaNode? gone)
    {
        var facts = group.Nodes.OfType<ReplicaNode>()
            .Select(node => node == gone
                ? ReplicaFacts.Unknown(node.Id) with { Answers = true, IsLost = true }
                : node.Facts!)
            .ToArray();
        var loss = QuorumJudge.Judge(group.Id, facts, static node => $"n{node}");
        World.Check(loss is not null, $"where no leader is elected it is known why");
        World.Check(!loss.Best.IsNone, $"the intact replica is one to go on from");
        var best = (ReplicaNode)group.NodeOf(loss.Best.Value);
        group.History.GiveUpBehind(LastShared(group.History, best));
        NodeId[] others = [.. group.Nodes.Where(node => node != best && node != gone).Select(static node => node.Id)];
        var above = new Term(facts.Max(static each => each.Term.Value));
        for (var askUs = 0L; !best.IsLeader; world.RunFor(1_000))
        {
            World.Check(askUs < LedWithinUs, $"node {best.Id} leads by its operator's word");
            if (askUs % AskAgainUs == 0)
            {
                best.ForceRecovery(others, above);
            }

            askUs += 1_000;
        }
    }

    /// <summary>
    /// What it has behind that was cut off with it, and never committed; others may have committed something else.
    /// </summary>
    private static LogIndex LastShared(History history, ReplicaNode best)
    {
        var last = LogIndex.Min(best.LastIndex, new LogIndex((long)history.Committed));
        while (best.DurableAt(last) is { } entry && !history.IsCommitted(last, entry))
        {
            last = last.Previous();
        }

        return last;
    }

    /// <summary>
    /// The one that was out of reach, which may have the longer log, meets those that gave up their votes first; some
    /// of these start anew meanwhile.
    /// </summary>
    private void Meddle(SimulatedGroup group, ReplicaNode? gone, ReplicaNode[] damaged)
    {
        if (Random.Next(2) == 0)
        {
            var restarted = damaged[Random.Next(damaged.Length)].Machine;
            restarted.Crash();
            restarted.Start();
        }

        if (gone is null)
        {
            return;
        }

        world.Network.Mend();
        foreach (var leader in group.Nodes.Where(static node => node.IsLeader).ToArray())
        {
            world.Network.Isolate(leader.Id.Value);
        }

        world.RunFor(MeddleUs);
    }

    private void RestartSuperseded(SimulatedGroup group)
    {
        world.RunFor(MeddleUs);
        foreach (var node in group.Nodes.OfType<ReplicaNode>().Where(static node => node.IsSuperseded))
        {
            node.NoteSuperseded();
            node.Machine.Crash();
            world.Network.Forget(node.Id.Value);
            node.Machine.Start();
        }
    }
}
