namespace Broker.Tests.Simulation;

/// <summary>What goes wrong, and when. Each fault ends by itself; several may be under way at once.</summary>
internal sealed partial class Faults(World world)
{
    /// <summary>A leader that was told to remove a member has it in its log by then, or never will.</summary>
    private const long RemovalSettlesWithinUs = 2_000_000;

    private bool _isOver;

    /// <summary>No node knows of a group with fewer voters.</summary>
    private long _removalSettledUs;

    /// <summary>Files of some node were damaged.</summary>
    public bool HaveHurt { get; private set; }

    private bool IsComplete => world.Groups.All(
        group => world.VotersIn(group) is var voters && group.Nodes.All(node => node.LeastVoters == voters
            && (world.Membership is null || node.Members.Voters.Length == voters)))
        && world.Membership is not { IsSettled: false };

    /// <summary>A member may be asked to leave: the others are whole.</summary>
    public bool CanSpareOne => IsComplete && !world.Machines.Any(static node => node.IsHurt);

    /// <summary>Members change: nothing may be damaged before all know of it.</summary>
    public void MembersChange() => _removalSettledUs = world.Scheduler.NowUs + RemovalSettlesWithinUs;

    private Random Random => world.Random;

    private SimulatedMachine AnyNode => world.Machines[Random.Next(world.Machines.Count)];

    private SimulatedGroup AnyGroup =>
        world.Groups.Count == 1 ? world.Groups[0] : world.Groups[Random.Next(world.Groups.Count)];

    /// <summary>Faults hit leaders more often than their number would have it.</summary>
    private SimulatedMachine Victim => Random.Next(2) == 0 ? LeaderOf(AnyGroup)?.Machine ?? AnyNode : AnyNode;

    public void Begin() => world.Scheduler.After(Random.NextInt64(world.Scenario.FaultIntervalMaxUs), () =>
    {
        if (!_isOver)
        {
            Inject();
            Begin();
        }
    });

    public void End()
    {
        _isOver = true;
        foreach (var node in world.Machines)
        {
            node.Resume();
            node.JumpClock(TimeSpan.Zero);
            node.Start();
        }

        world.Network.Heal();
        HealDisks();
    }

    public void OnLeader(SimulatedNode node)
    {
        if (_isOver || Random.NextDouble() >= world.Scenario.UnluckyLeaderRate)
        {
            return;
        }

        if (Random.Next(2) == 0)
        {
            Mute(node.Machine);
            return;
        }

        world.Scheduler.After(Random.NextInt64(2 * world.Scenario.NetworkDelayMaxUs), () =>
        {
            if (!_isOver && node.IsLeader)
            {
                CrashOrIsolate(node.Machine);
            }
        });
    }

    /// <summary>A write begins that has several steps, whose order matters.</summary>
    public void OnDelicateWrite(SimulatedMachine node)
    {
        if (!_isOver && Random.NextDouble() < world.Scenario.UnluckyWriteRate)
        {
            world.Scheduler.After(Random.NextInt64(world.Scenario.FlushMinUs), () =>
            {
                if (!_isOver)
                {
                    Crash(node);
                }
            });
        }
    }

    private void Inject()
    {
        switch (Random.Next(21))
        {
            case 0 or 1:
                Crash(Victim);
                break;
            case 2:
                CrashAll();
                break;
            case 3:
                Restart(Victim);
                break;
            case 4:
                Isolate(Victim);
                break;
            case 5:
                Split();
                break;
            case 6:
                CutOneWay(Victim, AnyNode);
                break;
            case 7:
                Pause(Victim);
                break;
            case 8:
                SlowDisk(Victim);
                break;
            case 9:
                Transfer(Victim, AnyNode);
                break;
            case 10:
                // A report without a cause: it must be harmless.
                Count(Figure.FalseAlarm);
                Victim.TellUnreachable(AnyNode.Id);
                break;
            case 11:
                Count(Figure.ClockJump);
                Victim.JumpClock(TimeSpan.FromSeconds(Random.Next(-60, 61)));
                break;
            case 12:
                FailDisk(Victim);
                break;
            case 13:
                CrashSlowly();
                break;
            case 14 or 15 or 16:
                Hurt(AnyNode);
                break;
            case 17:
                Remove(AnyNode);
                break;
            case 18:
                LoseLast(AnyNode);
                break;
            case 19:
                HangDisk(Victim);
                break;
            default:
                Count(Figure.Overload);
                var group = AnyGroup;
                group.FindNode(Victim.Id.Value)?.Propose(100);
                break;
        }
    }

    private void CrashOrIsolate(SimulatedMachine leader)
    {
        if (Random.Next(2) == 0)
        {
            Count(Figure.CrashOfNewLeader);
            Crash(leader);
        }
        else
        {
            Count(Figure.IsolatedNewLeader);
            Isolate(leader);
        }
    }

    /// <summary>
    /// A new leader gets out its first few messages with entries and no more, and still hears the answers: its entries
    /// are on some disks, and nobody else knows which (Raft thesis, figure 3.7).
    /// </summary>
    private void Mute(SimulatedMachine leader)
    {
        Say($"mutes {leader.Id}");
        Count(Figure.MutedNewLeader);
        world.Network.MuteAfter(leader.Id.Value, Random.Next(5));
        world.Scheduler.After(
            Random.NextInt64(500_000, 3_000_000), () => world.Network.Unmute(leader.Id.Value));
    }

    private void Crash(SimulatedMachine node)
    {
        Count(Figure.Crash, node.IsUp ? 1 : 0);
        node.Crash();
        Later(node.Start);
    }

    /// <summary>
    /// Files of a minority are damaged at a time (FAULTS F6, F7): the others hold everything. Two nodes have no
    /// minority.
    /// </summary>
    private void Hurt(SimulatedMachine node)
    {
        var hurt = world.Machines.Count(other => other != node && other.IsHurt);
        if (!IsComplete || world.Scheduler.NowUs < _removalSettledUs)
        {
            // With a member less, a minority is smaller, or none; also when the member is about to be removed.
            return;
        }

        if (hurt < (world.LeastVoters - 1) / 2 && node.TryHurt())
        {
            HaveHurt = true;
            world.Network.Forget(node.Id.Value);
            Later(node.Start);
        }
    }

    /// <summary>
    /// A bit of the last entry flips after a crash, and nothing need prove that it was there. It is one copy too many:
    /// a majority of the others has it, so that nothing depends on what the replica knows of its loss.
    /// </summary>
    private void LoseLast(SimulatedMachine node)
    {
        var group = AnyGroup;
        if (group.FindNode(node.Id.Value) is not { } replica)
        {
            return;
        }

        var last = replica.LastIndex;
        if (!node.IsUp || !IsComplete || world.Scheduler.NowUs < _removalSettledUs
            || world.Machines.Any(static other => other.IsHurt) || replica.DurableAt(last) is not { } entry)
        {
            return;
        }

        var voters = group.Voters();
        var copies = voters.Count(other => other != replica && other.DurableAt(last) is { } copy && copy == entry);
        if (copies > voters.Length / 2 && node.TryLoseLast(replica, isProven: false))
        {
            HaveHurt = true;
            node.Start();
        }
    }

    /// <summary>
    /// An operator removes a member, be it the leader. The desired voters have it come back, as a learner first.
    /// </summary>
    private void Remove(SimulatedMachine node)
    {
        var leader = LeaderOf(AnyGroup);

        // One voter of two would commit alone, as fast as clients send, and the other could never catch up where
        // messages overtake one another.
        var canShrink = world.LeastVoters > 2 && IsComplete;
        if (leader is not null && canShrink && !world.Machines.Any(other => other.IsHurt) && leader.TryRemove(node.Id))
        {
            _removalSettledUs = world.Scheduler.NowUs + RemovalSettlesWithinUs;
            Say($"removes {node.Id} from group {leader.GroupId}");
            Count(Figure.MemberRemoved);
        }
    }

    private void CrashAll()
    {
        Count(Figure.CrashOfAll);
        foreach (var node in world.Machines)
        {
            Crash(node);
        }
    }

    /// <summary>
    /// All crash, one after the other, and come back so: the quorum that remains is another at every moment.
    /// </summary>
    private void CrashSlowly()
    {
        Count(Figure.CrashOneByOne);
        var delayUs = 0L;
        foreach (var node in world.Machines)
        {
            world.Scheduler.After(delayUs, () =>
            {
                if (!_isOver)
                {
                    Crash(node);
                }
            });
            delayUs += Random.NextInt64(world.Scenario.FaultLengthMaxUs);
        }
    }

    private void Restart(SimulatedMachine node)
    {
        Count(Figure.QuickRestart);
        node.Crash();
        node.Start();
    }

    private void Isolate(SimulatedMachine node)
    {
        Say($"isolates {node.Id}");
        Count(Figure.IsolatedNode);
        world.Network.Isolate(node.Id.Value);
        Later(world.Network.Mend);
    }

    private void Split()
    {
        var left = world.Machines.Where(_ => Random.Next(2) == 0).ToArray();
        Say($"splits off {string.Join(' ', left.Select(node => node.Id))}");
        Count(Figure.Partition);
        foreach (var node in left)
        {
            foreach (var other in world.Machines.Except(left))
            {
                CutBoth(node, other);
            }
        }

        Later(world.Network.Mend);
    }

    private void CutOneWay(SimulatedMachine from, SimulatedMachine to)
    {
        if (from != to)
        {
            Say($"cuts {from.Id} -> {to.Id}");
            Count(Figure.OneWayCut);
            world.Network.Cut(from.Id.Value, to.Id.Value);
            Later(world.Network.Mend);
        }
    }

    private void CutBoth(SimulatedMachine left, SimulatedMachine right)
    {
        world.Network.Cut(left.Id.Value, right.Id.Value);
        world.Network.Cut(right.Id.Value, left.Id.Value);
    }

    private void Pause(SimulatedMachine node)
    {
        Count(Figure.Pause);
        node.Pause();
        Later(node.Resume);
    }

    /// <summary>By an operator's wish, or by the balancer's.</summary>
    private void Transfer(SimulatedMachine from, SimulatedMachine to)
    {
        var leader = AnyGroup.FindNode(from.Id.Value);
        Count(Figure.LeadershipTransfer, leader is { IsLeader: true } && from != to ? 1 : 0);
        leader?.Transfer(to.Id);
    }

    private static SimulatedNode? LeaderOf(SimulatedGroup group) =>
        group.Nodes.FirstOrDefault(static node => node.IsLeader);

    private void Count(Figure figure, int times = 1) => world.Figures.Count(figure, times);

    private void Later(Action end) =>
        world.Scheduler.After(Random.NextInt64(10_000, world.Scenario.FaultLengthMaxUs), end);

    private void Say(string what)
    {
        if (world.Trace.IsOn)
        {
            world.Trace.Write("flt", what);
        }
    }
}
