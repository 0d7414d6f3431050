using System.Buffers;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;
using Broker.Tests.Unit.Topics;
using Broker.Topics;

namespace Broker.Tests.Unit.Groups;

/// <summary>A shard with topics and groups, driven command by command.</summary>
internal sealed class GroupMachine
{
    private readonly Entries _entries = new();

    public GroupMachine(GroupBounds? bounds = null)
    {
        // The first module is this machine's, later ones those of shadows.
        Machine = new TopicStateMachine(new NoSink(), new TopicBounds(), topics =>
        {
            var module = new GroupProgressModule(topics, bounds ?? new GroupBounds());
            Progress ??= module;
            return [module];
        });
    }

    public TopicStateMachine Machine { get; }

    public GroupProgressModule Progress { get; private set; } = null!;

    public byte[] Snapshot
    {
        get
        {
            var into = new ArrayBufferWriter<byte>();
            Machine.WriteSnapshot(into);
            return into.WrittenSpan.ToArray();
        }
    }

    public GroupProgress Of(int group, int topic) => Progress.Groups[group].Find(topic)!;

    public CommandResult Publish(string topic, int records = 1) =>
        Entries.Apply(Machine, _entries.Publish(topic, records));

    public CommandResult Apply(Action<IBufferWriter<byte>> write) =>
        Entries.Apply(Machine, _entries.Of(Entries.Metadata(write)));

    public CommandResult Apply(LogEntry entry) => Entries.Apply(Machine, entry);

    public CommandResult Open(int group, params TopicStart[] starts) => Apply(into => GroupCommands.WriteOpen(
        into, new OpenGroupCommand(group, 0, Progress.Topics.NextNumber, Progress.Topics.NextNumber, starts)));

    public CommandResult Settle(int group, int topic, int turn, params OffsetRange[] ranges) =>
        Settle(new SettleCommand(group, topic, turn, ranges, []));

    public CommandResult Count(int group, int topic, int turn, params DeliveryCount[] counts) =>
        Settle(new SettleCommand(group, topic, turn, [], counts));

    public CommandResult Settle(SettleCommand settle) => Apply(into => GroupCommands.WriteSettle(into, settle));

    public CommandResult Bury(int group, int topic, int turn, long offset, int deadLetters) =>
        Apply(into => GroupCommands.WriteBury(into, group, topic, turn, offset, deadLetters, Entries.Batch(1)));

    public bool TryDuty(out byte[] command)
    {
        var into = new ArrayBufferWriter<byte>();
        var isDue = Machine.TryWriteDuty(0, into);
        command = into.WrittenSpan.ToArray();
        return isDue;
    }

    public LogEntry Entry(byte[] command) => _entries.Of(command);
}
