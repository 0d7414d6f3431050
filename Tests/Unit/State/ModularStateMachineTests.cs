using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.State;
using Broker.Tests.Unit.Topics;
using Xunit;

namespace Broker.Tests.Unit.State;

public sealed class ModularStateMachineTests
{
    private readonly Entries _entries = new();
    private readonly Counter _first = new(StateSection.Topics, CommandKind.Publish);
    private readonly Counter _second = new(StateSection.Cluster, CommandKind.ClusterCreated);
    private readonly Machine _machine;

    public ModularStateMachineTests()
    {
        _machine = new Machine(_first, _second);
    }

    [Fact]
    public void Each_command_comes_to_the_module_of_its_kind_and_results_stand_in_order()
    {
        var results = new CommandResult[3];
        _machine.Apply(_entries.Of(Second(5), First(7), Second(6)), results);
        Assert.Equal([5, 7, 6], results.Select(result => result.BaseOffset));
        Assert.Equal((7L, 11L), (_first.Sum, _second.Sum));
        Assert.Equal((1, 1), (_first.EntriesEnded, _second.EntriesEnded));
    }

    [Fact]
    public void A_command_that_no_module_has_ends_the_node() =>
        Assert.Throws<InvariantException>(() => _machine.Apply(_entries.Of(Command(CommandKind.PurgeTopic, 1)), []));

    [Fact]
    public void Two_modules_cannot_have_one_kind_of_command() => Assert.Throws<InvariantException>(
        () => new Machine(_first, new Counter(StateSection.Cluster, CommandKind.Publish)));

    [Fact]
    public void Modules_hear_of_the_time_before_an_entry_of_it_is_applied()
    {
        var one = _entries.Of(First(1));
        _entries.Advance(500);
        var two = _entries.Of(Second(1));
        _machine.Apply(one, []);
        _machine.Apply(two, []);
        Assert.Equal([(0, one.TimestampUnixMs, 0), (one.TimestampUnixMs, two.TimestampUnixMs, 1)], _first.Times);
    }

    [Fact]
    public void A_snapshot_brings_back_every_module()
    {
        _machine.Apply(_entries.Of(First(7), Second(300)), []);
        var snapshot = Snapshot(_machine);
        var first = new Counter(StateSection.Topics, CommandKind.Publish);
        var second = new Counter(StateSection.Cluster, CommandKind.ClusterCreated);
        var other = new Machine(first, second);
        other.Restore(snapshot);
        Assert.Equal((7L, 300L), (first.Sum, second.Sum));
        Assert.Equal((1, 1), (first.Restored, second.Restored));
        Assert.Equal(_machine.StateHash, other.StateHash);
        Assert.Equal(_machine.LastTimestampUnixMs, other.LastTimestampUnixMs);
        Assert.Equal(snapshot, Snapshot(other));
        other.Restore([]);
        Assert.Equal((0L, 0L, 0UL), (first.Sum, second.Sum, other.StateHash));
    }

    [Fact]
    public void A_module_that_is_new_begins_empty_and_one_that_is_unknown_is_refused()
    {
        var former = new Machine(_first);
        former.Apply(_entries.Of(First(7)), []);
        var snapshot = Snapshot(former);
        var second = new Counter(StateSection.Cluster, CommandKind.ClusterCreated) { Sum = 9 };
        var first = new Counter(StateSection.Topics, CommandKind.Publish);
        new Machine(first, second).Restore(snapshot);
        Assert.Equal((7L, 0L), (first.Sum, second.Sum));
        Assert.Throws<InvalidDataException>(() => former.Restore(Snapshot(_machine)));
    }

    [Fact]
    public void A_malformed_section_leaves_all_modules_as_they_were()
    {
        _machine.Apply(_entries.Of(First(7), Second(8)), []);
        var snapshot = Snapshot(_machine);
        _machine.Apply(_entries.Of(First(1), Second(1)), []);
        Assert.Throws<InvalidDataException>(() => _machine.Restore(snapshot.AsSpan(0, snapshot.Length - 1)));
        Assert.Equal((8L, 9L), (_first.Sum, _second.Sum));
        Assert.Equal((0, 0), (_first.Restored, _second.Restored));
    }

    [Fact]
    public void Duties_are_done_by_turns()
    {
        var command = new ArrayBufferWriter<byte>();
        Assert.False(_machine.TryWriteDuty(1, command));
        _first.Duties = 2;
        _second.Duties = 1;
        for (var i = 0; i < 3; i++)
        {
            Assert.True(_machine.TryWriteDuty(1, command));
        }

        Assert.False(_machine.TryWriteDuty(1, command));
        var kinds = new List<CommandKind>();
        foreach (var each in new CommandSequence(command.WrittenSpan))
        {
            kinds.Add(each.Kind);
        }

        Assert.Equal([CommandKind.Publish, CommandKind.ClusterCreated, CommandKind.Publish], kinds);
    }

    [Fact]
    public void What_any_module_needs_of_the_log_is_kept()
    {
        Assert.Equal(new LogIndex(long.MaxValue), _machine.FirstNeeded);
        _second.Needs = new LogIndex(4);
        Assert.Equal(new LogIndex(4), _machine.FirstNeeded);
    }

    private static byte[] First(ulong value) => Command(CommandKind.Publish, value);

    private static byte[] Second(ulong value) => Command(CommandKind.ClusterCreated, value);

    private static byte[] Command(CommandKind kind, ulong value)
    {
        var into = new ArrayBufferWriter<byte>();
        Counter.Write(into, kind, value);
        return into.WrittenSpan.ToArray();
    }

    private static byte[] Snapshot(Machine machine)
    {
        var into = new ArrayBufferWriter<byte>();
        machine.WriteSnapshot(into);
        return into.WrittenSpan.ToArray();
    }

    private sealed class Machine(params StateModule[] modules) : ModularStateMachine((byte)'X', modules)
    {
        public override IStateMachine MakeShadow() => throw new NotSupportedException();
    }

    /// <summary>Adds up the numbers of its commands.</summary>
    private sealed class Counter(StateSection section, CommandKind kind) : StateModule
    {
        private readonly CommandKind[] _commands = [kind];
        private int _applied;

        public long Sum { get; set; }

        public int Duties { get; set; }

        public int EntriesEnded { get; private set; }

        public int Restored { get; private set; }

        public LogIndex Needs { get; set; } = new(long.MaxValue);

        public List<(long Before, long Now, int Applied)> Times { get; } = [];

        internal override StateSection Section => section;

        internal override byte SectionFormat => 1;

        internal override ReadOnlySpan<CommandKind> Commands => _commands;

        internal override LogIndex FirstNeeded => Needs;

        public static void Write(IBufferWriter<byte> into, CommandKind kind, ulong value)
        {
            var writer = CommandSequence.Begin(into, kind, sizeof(ulong));
            writer.PutUInt64(value);
            into.Advance(writer.Written);
        }

        internal override void PassTime(long beforeUnixMs, long nowUnixMs) =>
            Times.Add((beforeUnixMs, nowUnixMs, _applied));

        internal override CommandResult Apply(in ApplyStep step, in Command command)
        {
            Assert.Equal(kind, command.Kind);
            var value = (long)new PayloadReader(command.Payload).TakeUInt64();
            Sum += value;
            _applied++;
            step.Hash.Add(value);
            return new CommandResult { BaseOffset = value };
        }

        internal override void EndEntry() => EntriesEnded++;

        internal override void Write(ref SnapshotWriter writer) => writer.PutVarint(Sum);

        internal override Action Read(ref SnapshotReader reader, byte format, in SnapshotMoment moment)
        {
            reader.Check(format == SectionFormat, "its format is known");
            var sum = reader.TakeVarint(long.MaxValue);
            return () => Sum = sum;
        }

        internal override void Clear() => Sum = 0;

        internal override void EndRestore() => Restored++;

        internal override bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command)
        {
            if (Duties == 0)
            {
                return false;
            }

            Duties--;
            Write(command, kind, 1);
            return true;
        }
    }
}
