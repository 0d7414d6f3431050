using System.Buffers;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Tests.Unit.Topics;
using Xunit;

namespace Broker.Tests.Unit.ClusterState;

public sealed class MetadataSnapshotTests
{
    private readonly Entries _entries = new();
    private readonly List<ClusterMetadata> _changes = [];
    private readonly MetadataStateMachine _machine;

    public MetadataSnapshotTests()
    {
        _machine = new MetadataStateMachine(_changes.Add);
    }

    [Fact]
    public void The_documented_example_is_read_and_written_again()
    {
        const string Hash = "0100000000000000";
        const string Section = "0000" + "01" + "0173" + "01" + "0161";
        const string Members = "0803" + "00" + "00" + "00" + "00";
        var bytes = Convert.FromHexString("4D04" + "05" + "00" + Hash + "02" + "0202" + Section + "00" + Members);
        _machine.Restore(Convert.FromHexString("4D04" + "05" + "00" + Hash + "01" + "0202" + Section + "00"));
        Assert.Equal(bytes, Snapshot(_machine));
        foreach (var former in new[] { "4D01" + "05" + Hash + Section, "4D02" + "05" + Hash + Section + "00" })
        {
            _machine.Restore(Convert.FromHexString(former));
            Assert.Equal(bytes, Snapshot(_machine));
        }

        _machine.Restore(bytes);
        Assert.Equal(["a"], _machine.Current.LiveSubscriptions["s"].Filters);
        Assert.Equal(1UL, _machine.StateHash);
        Assert.Equal(bytes, Snapshot(_machine));
    }

    [Fact]
    public void A_replica_that_goes_on_from_any_snapshot_is_as_one_that_applied_everything()
    {
        var log = Log();
        log.ForEach(entry => _machine.Apply(entry, []));
        var before = new MetadataStateMachine();
        foreach (var (taken, entry) in log.Index())
        {
            var after = new MetadataStateMachine();
            after.Restore(Snapshot(before));
            log.Skip(taken).ToList().ForEach(each => after.Apply(each, []));
            Assert.Equal(_machine.StateHash, after.StateHash);
            Assert.Equal(Snapshot(_machine), Snapshot(after));
            before.Apply(entry, []);
        }
    }

    [Fact]
    public void Restoring_is_a_change_of_the_picture()
    {
        Log().ForEach(entry => _machine.Apply(entry, []));
        var snapshot = Snapshot(_machine);
        _changes.Clear();
        _machine.Restore(snapshot);
        Assert.Same(Assert.Single(_changes), _machine.Current);
        _machine.Restore([]);
        Assert.Same(ClusterMetadata.Empty, _machine.Current);
        Assert.Equal(0UL, _machine.StateHash);
    }

    [Fact]
    public void Every_flipped_bit_and_every_cut_is_refused_or_is_another_state()
    {
        Log().ForEach(entry => _machine.Apply(entry, []));
        var snapshot = Snapshot(_machine);
        for (var length = 1; length < snapshot.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => _machine.Restore(snapshot.AsSpan(0, length)));
        }

        var refused = 0;
        for (var bit = 0; bit < snapshot.Length * 8; bit++)
        {
            snapshot[bit / 8] ^= (byte)(1 << (bit % 8));
            try
            {
                _machine.Restore(snapshot);
                Assert.Equal(snapshot, Snapshot(_machine));
            }
            catch (InvalidDataException)
            {
                refused++;
            }

            snapshot[bit / 8] ^= (byte)(1 << (bit % 8));
        }

        Assert.InRange(refused, snapshot.Length / 2, snapshot.Length * 8);
    }

    [Fact]
    public void Nothing_is_kept_in_the_log()
    {
        var writer = new ArrayBufferWriter<byte>();
        Assert.Equal(new LogIndex(long.MaxValue), _machine.FirstNeeded);
        Assert.False(_machine.TryWriteIndex(new LogIndex(1), new LogIndex(2), writer, writer));
        Assert.Throws<InvalidDataException>(() => _machine.UseIndex(new LogIndex(1), new LogIndex(2), default));
        _machine.DropIndexes(new LogIndex(2));
    }

    private static byte[] Snapshot(MetadataStateMachine machine)
    {
        var buffer = new ArrayBufferWriter<byte>();
        machine.WriteSnapshot(buffer);
        return buffer.WrittenSpan.ToArray();
    }

    private List<LogEntry> Log()
    {
        var random = new Random(3);
        return
        [
            .. Enumerable.Range(0, 80).Select(i => _entries.Of(Entries.Metadata(into =>
            {
                var store = new Guid(random.Next(3), 0, 0, [1, 2, 3, 4, 5, 6, 7, 8]);
                var number = new NodeId(random.Next(1, 6));
                switch (i is 7 or 3 ? -i : i > 40 ? 10 + (i % 3) : random.Next(10))
                {
                    case 10:
                        MemberCommands.WriteShardVoters(into, 3);
                        break;
                    case > 10:
                        int[] voters = [.. Enumerable.Range(1, 9).Where(_ => random.Next(3) == 0)];
                        MemberCommands.WriteShardPlaced(into, new GroupId(random.Next(1, 3)), voters);
                        break;
                    case -3:
                        MemberCommands.WriteFounded(
                            into,
                            [
                                .. Enumerable.Range(1, 3).Select(each => new ClusterMember(
                                    new NodeId(each), $"n{each}", $"http://n{each}:1", MemberState.Member)),
                            ]);
                        break;
                    case 5:
                        MemberCommands.WriteJoined(into, Guid.NewGuid(), $"m{random.Next(3)}", "http://m:1");
                        break;
                    case 6:
                        MemberCommands.WriteMoved(into, number, $"http://m:{random.Next(1, 3)}");
                        break;
                    case 7:
                        MemberCommands.WriteChanged(into, number, (MemberState)random.Next(1, 7));
                        break;
                    case 8:
                        MemberCommands.WriteLeaderPlaced(into, new GroupId(random.Next(3)), number);
                        break;
                    case 9:
                        MemberCommands.WriteDrained(into, number, random.Next(3) > 0);
                        break;
                    case -7:
                        ClusterCommands.WriteClusterCreated(into, store);
                        break;
                    case 0:
                        var node = new NodeRegistration(new NodeId(random.Next(1, 4)), $"n{random.Next(3)}", store);
                        ClusterCommands.WriteNodeRegistered(into, node);
                        break;
                    case 1:
                        var other = new NodeRegistration(new NodeId(random.Next(1, 4)), $"n{random.Next(3)}", store);
                        ClusterCommands.WriteNodeReplaced(into, other);
                        break;
                    case 2:
                        ClusterCommands.WriteDeleteLiveSubscription(into, $"s{random.Next(5)}");
                        break;
                    default:
                        string[] filters = [$"a{random.Next(3)}.*", "é.>"];
                        ClusterCommands.WritePutLiveSubscription(into, $"s{random.Next(5)}", filters);
                        break;
                }
            }))),
        ];
    }
}
