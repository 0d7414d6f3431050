using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <content>What goes wrong with disks.</content>
internal sealed partial class Faults
{
    private GroupId[] AllGroups => [.. world.Groups.Select(static group => group.Id)];

    /// <summary>
    /// That of a node which leads, mostly: full, or it hangs, until it is healed. Returns whose disk it is, and the
    /// groups that cannot do without it there.
    /// </summary>
    public (SimulatedMachine Machine, IReadOnlyList<GroupId> Groups) BreakOneDisk()
    {
        var node = Victim;
        var groups = SomeGroups();
        Count(Figure.BrokenDisk);
        if (Random.Next(2) == 0)
        {
            Say($"fills the disk of {node.Id} {Name(groups)}");
            node.Disk.Fill(groups);
        }
        else
        {
            Say($"hangs the disk of {node.Id} {Name(groups)}");
            node.Disk.Hang(groups);
        }

        return (node, groups);
    }

    public void FillAllDisks()
    {
        Say("fills all disks");
        Count(Figure.AllDisksFull);
        foreach (var node in world.Machines)
        {
            node.Disk.Fill(AllGroups);
        }
    }

    public void HealDisks()
    {
        Say("heals the disks");
        foreach (var node in world.Machines)
        {
            node.Disk.Heal();
        }
    }

    private void FailDisk(SimulatedMachine node)
    {
        var groups = SomeGroups();
        if (Random.Next(2) == 0)
        {
            Say($"fills the disk of {node.Id} {Name(groups)}");
            Count(Figure.FullDisk);
            node.Disk.Fill(groups);
        }
        else
        {
            Say($"has the disk of {node.Id} fail {Name(groups)}");
            node.Disk.Fail(groups);
        }

        Later(node.Disk.Heal);
    }

    /// <summary>Nothing that is written to it comes to an end; nobody is told why.</summary>
    private void HangDisk(SimulatedMachine node)
    {
        var groups = SomeGroups();
        Say($"hangs the disk of {node.Id} {Name(groups)}");
        Count(Figure.HungDisk);
        node.Disk.Hang(groups);
        Later(node.Disk.Heal);
    }

    /// <summary>The files of one group, or those of all.</summary>
    private GroupId[] SomeGroups()
    {
        if (world.Groups.Count == 1 || Random.Next(2) == 0)
        {
            return AllGroups;
        }

        Count(Figure.FaultOfOneGroup);
        return [AnyGroup.Id];
    }

    private static string Name(GroupId[] groups) => $"for group {string.Join(' ', groups)}";

    private void SlowDisk(SimulatedMachine node)
    {
        var groups = SomeGroups();
        Say($"slows the disk of {node.Id} {Name(groups)}");
        Count(Figure.SlowDisk);
        node.Disk.Slow(groups, 1 << Random.Next(1, 10));
        Later(node.Disk.Heal);
    }
}
