using Broker.ClusterState;
using Broker.Groups;

namespace Broker.Tests.Simulation;

/// <content>The consumer group, where there is one.</content>
internal sealed partial class ReplicaNode
{
    /// <summary>How far groups are in this shard; null while it is down, and where there are none.</summary>
    public GroupProgressModule? Groups => _group is null ? null : _machine!.Progress;

    /// <summary>The groups of the cluster, as the first group's replica on this machine has applied them.</summary>
    public ConsumerGroups ConsumerGroups => ((ReplicaNode)Machine.Replicas[0])._machine!.ConsumerGroups;

    /// <summary>Milliseconds by a clock that does not jump.</summary>
    public long SteadyMs => _clock.SteadyUnixMs;

    private void AttachGroups(RecordingMachine machine)
    {
        if (Group.Consumers is { } consumers && machine.Progress is { } progress)
        {
            progress.AttachDuties(new GroupDuties(
                () => ConsumerGroups, progress, work => Machine.Disk.Run(this, work)));
            progress.Changed = (number, topic) => consumers.OnChanged(this, number, topic);
        }
    }
}
