using System.Buffers;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Replication;
using Broker.State;
using Broker.Tests.Unit.Topics;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.ClusterState;

public sealed class ConsumerGroupModuleTests
{
    private static readonly ConsumerGroupSettings Settings = new() { Filters = ["a"] };

    private readonly Entries _entries = new();
    private readonly ConsumerGroupModule _module = new();
    private readonly Machine _machine;

    public ConsumerGroupModuleTests()
    {
        _machine = new Machine(_module);
    }

    [Fact]
    public void The_documented_examples_are_written()
    {
        Assert.Equal(
            "04000000" + "32" + "010067",
            Convert.ToHexString(Entries.Metadata(static into => ConsumerGroupCommands.WriteDelete(into, "g"))));
        var settings = Settings with { AckWaitMs = 100, MaxDeliveries = 2, MaxOutstanding = 3 };
        Create("g", settings, new GroupStart(GroupStartKind.End));
        Assert.EndsWith(
            "0A01" + "02" + "01" + "01" + "0167" + "0200" + "01" + "64" + "02" + "03" + "01" + "01" + "0161" + "00",
            Convert.ToHexString(Snapshot()),
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_group_keeps_its_number_and_one_of_a_deleted_ones_name_has_another()
    {
        Assert.Equal(1, Create("g", Settings).BaseOffset);
        var again = Create("g", Settings);
        Assert.Equal((1, true, RefusalCode.None), (again.BaseOffset, again.Duplicate, again.Code));
        Assert.Equal(RefusalCode.AlreadyExists, Create("g", Settings with { AckWaitMs = 100 }).Code);
        Assert.Equal(RefusalCode.AlreadyExists, Create("g", Settings, new GroupStart(GroupStartKind.End)).Code);
        Assert.Equal(1, Delete("g").BaseOffset);
        Assert.Equal(RefusalCode.NotFound, Delete("g").Code);
        Assert.Equal(2, Create("g", Settings).BaseOffset);
        Assert.Null(_module.Current.Find(1));
        Assert.Equal("g", _module.Current.Find(2)!.Name);
    }

    [Fact]
    public void A_change_is_about_the_parts_that_it_names()
    {
        Create("g", Settings);
        var other = new ConsumerGroupSettings
        {
            Filters = ["b.>", "c"],
            Mode = ConsumerGroupMode.Exclusive,
            AckWaitMs = 500,
            MaxDeliveries = 0,
            BackOffMs = [5, 10],
            MaxOutstanding = 7,
            KeepsDeadLetters = false,
            IsPaused = true,
        };
        Assert.Equal(RefusalCode.None, Update("g", ConsumerGroupParts.AckWait | ConsumerGroupParts.Paused, other).Code);
        Assert.Equal(Settings with { AckWaitMs = 500, IsPaused = true }, _module.Current.Find("g")!.Settings);
        Update("g", ConsumerGroupParts.All, other);
        Assert.Equal(other with { Mode = ConsumerGroupMode.Shared }, _module.Current.Find("g")!.Settings);
        Assert.True(Update("g", ConsumerGroupParts.All, other).Duplicate);
        Assert.Equal(RefusalCode.NotFound, Update("h", ConsumerGroupParts.All, other).Code);
    }

    [Fact]
    public void What_is_out_of_bounds_is_kept_out()
    {
        foreach (var settings in new[]
        {
            Settings with { Filters = [] },
            Settings with { Filters = ["a..b"] },
            Settings with { Filters = [.. Enumerable.Repeat("a", 101)] },
            Settings with { AckWaitMs = 99 },
            Settings with { AckWaitMs = (24 * 3_600_000) + 1 },
            Settings with { MaxDeliveries = 1_001 },
            Settings with { BackOffMs = [.. new long[21]] },
            Settings with { MaxOutstanding = 0 },
            Settings with { MaxOutstanding = 100_001 },
            Settings with { Mode = (ConsumerGroupMode)9 },
        })
        {
            Assert.Equal(RefusalCode.InvalidArgument, Create("g", settings).Code);
        }

        Assert.Equal(RefusalCode.InvalidArgument, Create("", Settings).Code);
        Assert.Equal(RefusalCode.InvalidArgument, Create(new string('g', 246), Settings).Code);
        Create("g", Settings);
        Assert.Equal(
            RefusalCode.InvalidArgument,
            Update("g", ConsumerGroupParts.AckWait, Settings with { AckWaitMs = 1 }).Code);
        for (var i = 1; i < Limits.ConsumerGroups; i++)
        {
            Create($"g{i}", Settings);
        }

        Assert.Equal(RefusalCode.ResourceExhausted, Create("more", Settings).Code);
    }

    [Fact]
    public void A_snapshot_gives_the_same_state_and_a_broken_one_is_refused()
    {
        Create("g", Settings with { BackOffMs = [1, 300], Filters = ["a", "b.*"] });
        Create("h", Settings, new GroupStart(GroupStartKind.Time, 77));
        Delete("g");
        Create("i", Settings with { IsPaused = true, KeepsDeadLetters = false });
        var snapshot = Snapshot();
        var other = new ConsumerGroupModule();
        var machine = new Machine(other);
        machine.Restore(snapshot);
        Assert.Equal(_module.Current.ByName.Values, other.Current.ByName.Values);
        Assert.Equal(4, other.Current.NextNumber);
        Assert.Equal(snapshot, Snapshot(machine));
        for (var length = 1; length < snapshot.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => machine.Restore(snapshot.AsSpan(0, length)));
        }

        for (var bit = 0; bit < snapshot.Length * 8; bit++)
        {
            snapshot[bit / 8] ^= (byte)(1 << (bit % 8));
            try
            {
                machine.Restore(snapshot);
                Assert.Equal(snapshot, Snapshot(machine));
            }
            catch (InvalidDataException)
            {
                // Most are refused.
            }

            snapshot[bit / 8] ^= (byte)(1 << (bit % 8));
        }
    }

    [Fact]
    public void A_snapshot_of_before_there_were_groups_is_read()
    {
        var before = new ArrayBufferWriter<byte>();
        new MetadataStateMachine(null, null, static () => [new TopicPolicyModule()]).WriteSnapshot(before);
        var heard = new List<ConsumerGroups>();
        var after = new MetadataStateMachine(
            null, null, () => [new TopicPolicyModule(), new ConsumerGroupModule(heard.Add)]);
        after.Restore(before.WrittenSpan);
        Assert.Same(ConsumerGroups.Empty, Assert.Single(heard));
    }

    private CommandResult Create(string name, ConsumerGroupSettings settings, GroupStart? start = null) =>
        Apply(into => ConsumerGroupCommands.WriteCreate(
            into, name, settings, start ?? new GroupStart(GroupStartKind.Beginning)));

    private CommandResult Update(string name, ConsumerGroupParts parts, ConsumerGroupSettings settings) =>
        Apply(into => ConsumerGroupCommands.WriteUpdate(into, name, parts, settings));

    private CommandResult Delete(string name) => Apply(into => ConsumerGroupCommands.WriteDelete(into, name));

    private CommandResult Apply(Action<IBufferWriter<byte>> write) =>
        Entries.Apply(_machine, _entries.Of(Entries.Metadata(write)));

    private byte[] Snapshot() => Snapshot(_machine);

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
}
