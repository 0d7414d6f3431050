using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

/// <summary>Topics of several partitions, in shards whose leaders do what their duties say.</summary>
public sealed class PartitionTests
{
    private const string Topic = "orders";

    private readonly Shards _shards = new(3);

    [Fact]
    public void A_partition_command_has_the_documented_bytes()
    {
        var settings = new TopicSettings { MaxAgeMs = 1, MaxBytes = 2, MaxRecords = 3, MaxMessageBytes = 4 };
        const string Settings = "0100000000000000" + "0200000000000000" + "0300000000000000" + "04000000";
        Assert.Equal(
            "22000000" + "0C" + "0C00" + "0161" + "7F" + Settings,
            Hex(into => PartitionCommands.WriteCreateTopic(into, "a", 12, settings)));
        var topic = new TopicState("a", 0, 7, new TopicParts(0, new BatchIndex(0, 0)), settings)
        {
            SettingsVersion = 2,
        };
        Assert.Equal(
            "2D000000" + "0D" + "07000000" + "02000000" + "0161" + Settings + "0200" + "0100" + "0400",
            Hex(into => PartitionCommands.WriteMakePartitions(into, topic, [1, 4])));
        Assert.Equal(
            "13000000" + "0E" + "07000000" + "0200" + "0100" + "09000000" + "0400" + "0A000000",
            Hex(into => PartitionCommands.WritePlacePartitions(
                into, 7, [new PlacedPartition(1, 9), new PlacedPartition(4, 10)])));
        Assert.Equal(
            "0B000000" + "0F" + "0200" + "09000000" + "0A000000",
            Hex(into => PartitionCommands.WriteRemovePartitions(into, [9, 10])));
        Assert.Equal(
            "29000000" + "0B" + "05000000" + "FFFFFFFFFFFFFFFF" + "0161" + "0000000000000000" + "00000000"
            + "0000000000000000" + "01000000" + "0A00",
            Convert.ToHexString(Entries.PublishCommand("a", [0x0A, 0x00], topicNumber: 5)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(5)]
    public void Partitions_take_turns_over_the_shards_and_are_found_there(int shards)
    {
        var all = new Shards(shards);
        Assert.Equal(RefusalCode.None, all.Create(Topic, 7).Code);
        all.Settle();
        var topic = all.Find(Topic);
        Assert.Equal((7, true), (topic.Partitions, topic.IsComplete));
        for (var partition = 0; partition < 7; partition++)
        {
            var group = all.Map.GroupOf(all.Home(Topic), partition);
            Assert.Equal(1 + ((all.Home(Topic).Value - 1 + partition) % shards), group.Value);
            Assert.Equal(all.Home(Topic), all.Map.TopicGroupOf(group, partition));
            Assert.True(all[group].TryGetTopic(PartitionName.Of(Topic, partition), out var found));
            Assert.Equal(topic.PartitionNumber(partition), found.Number);
        }

        Assert.Equal([Topic], all.All.SelectMany(machine => machine.ListTopics()).Select(each => each.Name));
        Assert.Equal(7, all.All.Sum(machine => machine.TopicCount));
    }

    [Fact]
    public void What_is_published_to_a_partition_has_offsets_and_producers_of_its_own()
    {
        _shards.Create(Topic, 4);
        _shards.Settle();
        for (var partition = 0; partition < 4; partition++)
        {
            var stamp = new PublishStamp(7, 0, 0);
            Assert.Equal(0, _shards.Publish(Topic, partition, 3, stamp).BaseOffset);
            Assert.True(_shards.Publish(Topic, partition, 3, stamp).Duplicate);
            Assert.Equal(3, _shards.Publish(Topic, partition, 1, expectedOffset: 3).BaseOffset);
            Assert.Equal(RefusalCode.UnexpectedOffset, _shards.Publish(Topic, partition, 1, expectedOffset: 3).Code);
        }
    }

    [Fact]
    public void Who_does_not_know_the_partitions_of_now_stores_nothing()
    {
        Assert.Equal(RefusalCode.PartitionsChanged, _shards.PublishAs(Topic, 1, 5).Code);
        _shards.Create(Topic, 4);
        Assert.Equal(RefusalCode.PartitionsChanged, _shards.PublishAs(Topic, 0, -1).Code);
        _shards.Settle();
        var old = _shards.Find(Topic);
        _shards.Publish(Topic, 1, 1);
        _shards.Delete(Topic);
        Assert.Equal(RefusalCode.PartitionsChanged, _shards.PublishAs(Topic, 0, old.Number).Code);
        _shards.Settle();
        Assert.Equal(RefusalCode.PartitionsChanged, _shards.PublishAs(Topic, 1, old.PartitionNumber(1)).Code);
        _shards.Create(Topic, 2);
        _shards.Settle();
        Assert.Equal(RefusalCode.PartitionsChanged, _shards.PublishAs(Topic, 0, old.Number).Code);
        Assert.Equal(RefusalCode.PartitionsChanged, _shards.PublishAs(Topic, 1, old.PartitionNumber(1)).Code);
        Assert.Equal(0, _shards.Publish(Topic, 1, 1).BaseOffset);
    }

    [Fact]
    public void A_topic_is_made_once_with_one_number_of_partitions()
    {
        Assert.False(_shards.Create(Topic, 4).Duplicate);
        Assert.True(_shards.Create(Topic, 4).Duplicate);
        Assert.Equal(RefusalCode.AlreadyExists, _shards.Create(Topic, 5).Code);
        Assert.Equal(RefusalCode.AlreadyExists, _shards.Apply(
            _shards.Home(Topic), into => TopicCommands.WriteCreateTopic(into, Topic, TopicSettings.Default)).Code);
        _shards.Publish("plain", 0, 1);
        Assert.Equal(RefusalCode.AlreadyExists, _shards.Create("plain", 2).Code);
    }

    [Fact]
    public void Settings_reach_every_partition_and_what_they_do_not_keep_goes()
    {
        _shards.Create(Topic, 5, new TopicSettings { MaxRecords = 4 });
        _shards.Settle();
        for (var partition = 0; partition < 5; partition++)
        {
            _shards.Publish(Topic, partition, 1);
            for (var i = 0; i < 9; i++)
            {
                _shards.Publish(Topic, partition, 1);
            }
        }

        _shards.Settle();
        Assert.All(_shards.PartitionsOf(Topic), each => Assert.Equal((6, 10), (each.FirstOffset, each.NextOffset)));
        _shards.Apply(_shards.Home(Topic), into => TopicCommands.WriteUpdateTopic(
            into, Topic, TopicSettingParts.MaxRecords, new TopicSettings { MaxRecords = 2 }));
        _shards.Settle();
        Assert.All(_shards.PartitionsOf(Topic), each => Assert.Equal(
            (8, 10, 2), (each.FirstOffset, each.NextOffset, each.Settings.MaxRecords)));
    }

    /// <summary>
    /// The commands of a leader that looked at a state of before may come at any time, and in any order.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Whatever_leaders_that_lag_propose_nothing_that_was_acknowledged_is_lost(int seed)
    {
        var random = new Random(seed);
        var late = new List<(GroupId Group, byte[] Command)>();
        var stored = new Dictionary<int, long>();
        var exists = false;
        var number = -1;
        for (var step = 0; step < 3_000; step++)
        {
            switch (random.Next(12))
            {
                case 0 when random.Next(4) == 0:
                    exists = _shards.Delete(Topic).Code != RefusalCode.None && exists;
                    break;
                case 1:
                    exists |= _shards.Create(Topic, random.Next(2, 7)).Code == RefusalCode.None;
                    break;
                case 2 when late.Count > 0:
                    var again = late[random.Next(late.Count)];
                    _shards.Apply(again.Group, again.Command);
                    break;
                case 3:
                    _shards.Settle();
                    break;
                case < 8:
                    var group = new GroupId(random.Next(1, 4));
                    foreach (var command in _shards.Duties(group))
                    {
                        late.Add((group, command));
                        if (random.Next(3) > 0)
                        {
                            _shards.Apply(group, command);
                        }
                    }

                    break;
                default:
                    if (exists && _shards.Find(Topic) is var topic)
                    {
                        if (topic.Number != number)
                        {
                            stored.Clear();
                            number = topic.Number;
                        }

                        var partition = random.Next(topic.Partitions);
                        var answer = _shards.Publish(Topic, partition, 1);
                        Assert.Contains(answer.Code, new[] { RefusalCode.None, RefusalCode.PartitionsChanged });
                        if (answer.Code == RefusalCode.None)
                        {
                            Assert.Equal(stored.GetValueOrDefault(partition), answer.BaseOffset);
                            stored[partition] = answer.BaseOffset + 1;
                        }
                    }

                    break;
            }
        }

        _shards.Settle();
        Assert.Equal(exists ? _shards.Find(Topic).Partitions : 0, _shards.All.Sum(machine => machine.TopicCount));
    }

    /// <summary>
    /// A shard that has not heard of the topic must not take its partition for one of a deleted topic.
    /// </summary>
    [Fact]
    public void What_a_shard_has_not_heard_of_yet_is_not_removed()
    {
        _shards.Create(Topic, 3);
        _shards.Settle();
        _shards.Publish(Topic, 1, 1);
        var group = _shards.Map.GroupOf(_shards.Home(Topic), 1);

        var lagging = new Shards(3);
        lagging.Restore(group, _shards);
        Assert.Empty(lagging.Duties(group));

        _shards.Delete(Topic);
        lagging.Restore(_shards.Home(Topic), _shards);
        Assert.NotEmpty(lagging.Duties(group));
    }

    [Fact]
    public void A_shard_without_room_leaves_the_topic_unfinished_until_it_has_some()
    {
        var small = new Shards(1, new TopicBounds { Topics = 3 });
        Assert.Equal(RefusalCode.None, small.Create(Topic, 4).Code);
        small.Settle();
        Assert.False(small.Find(Topic).IsComplete);
        small.Delete(Topic);
        small.Settle();
        Assert.Equal(RefusalCode.None, small.Create(Topic, 3).Code);
        small.Settle();
        Assert.True(small.Find(Topic).IsComplete);
    }

    [Fact]
    public void A_snapshot_knows_partitions_and_goes_on()
    {
        _shards.Create(Topic, 5);
        _shards.Settle();
        _shards.Publish(Topic, 3, 2);
        _shards.Create("unfinished", 3);
        var restored = new Shards(3);
        foreach (var group in _shards.Map.DataGroups)
        {
            restored.Restore(group, _shards);
            Assert.Equal(Shards.Snapshot(_shards[group]), Shards.Snapshot(restored[group]));
        }

        Assert.Equal(2, restored.Publish(Topic, 3, 1).BaseOffset);
        Assert.False(restored.Find("unfinished").IsComplete);
        restored.Settle();
        Assert.True(restored.Find("unfinished").IsComplete);
        restored.Delete(Topic);
        restored.Delete("unfinished");
        restored.Settle();
        Assert.Equal(0, restored.All.Sum(machine => machine.TopicCount));
        Assert.All(restored.All, machine => Assert.Equal(new LogIndex(long.MaxValue), machine.FirstNeeded));
    }

    private static string Hex(Action<IBufferWriter<byte>> write) => Convert.ToHexString(Entries.Metadata(write));

    /// <summary>The shards of one node, each of which leads.</summary>
    private sealed class Shards
    {
        private readonly Dictionary<GroupId, (TopicStateMachine Machine, Entries Log)> _groups;

        public Shards(int count, TopicBounds? bounds = null)
        {
            Map = new ShardMap(count);
            _groups = Map.DataGroups.ToDictionary(
                group => group, _ => (new TopicStateMachine(new NoSink(), bounds), new Entries()));
            foreach (var (group, (machine, _)) in _groups)
            {
                machine.AttachPartitionDuties(group, Map, other => _groups[other].Machine);
            }
        }

        public ShardMap Map { get; }

        public IEnumerable<TopicStateMachine> All => _groups.Values.Select(each => each.Machine);

        public TopicStateMachine this[GroupId group] => _groups[group].Machine;

        public GroupId Home(string topic) => Map.GroupOf(topic);

        public TopicView Find(string topic)
        {
            Assert.True(this[Home(topic)].TryGetTopic(topic, out var view));
            return view;
        }

        public IEnumerable<TopicView> PartitionsOf(string topic) => Enumerable.Range(0, Find(topic).Partitions)
            .Select(partition =>
            {
                var machine = this[Map.GroupOf(Home(topic), partition)];
                Assert.True(machine.TryGetTopic(PartitionName.Of(topic, partition), out var view));
                return view;
            });

        public CommandResult Create(string topic, int partitions, TopicSettings? settings = null) => Apply(
            Home(topic),
            into => PartitionCommands.WriteCreateTopic(into, topic, partitions, settings ?? TopicSettings.Default));

        public CommandResult Delete(string topic) =>
            Apply(Home(topic), into => TopicCommands.WriteDeleteTopic(into, topic));

        public CommandResult Publish(
            string topic, int partition, int records, PublishStamp stamp = default, long? expectedOffset = null)
        {
            var isThere = this[Home(topic)].TryGetTopic(topic, out var view);
            var number = isThere && view.Partitions > 1 ? view.PartitionNumber(partition) : -1;
            return isThere && view.Partitions > 1 && number < 0
                ? new CommandResult { Code = RefusalCode.PartitionsChanged }
                : PublishAs(topic, partition, number, records, stamp, expectedOffset);
        }

        public CommandResult PublishAs(
            string topic,
            int partition,
            int number,
            int records = 1,
            PublishStamp stamp = default,
            long? expectedOffset = null) => Apply(
            Map.GroupOf(Home(topic), partition),
            Entries.PublishCommand(
                PartitionName.Of(topic, partition), Entries.Batch(records), records, stamp, expectedOffset, number));

        public CommandResult Apply(GroupId group, Action<IBufferWriter<byte>> write) =>
            Apply(group, Entries.Metadata(write));

        public CommandResult Apply(GroupId group, byte[] command) =>
            Entries.Apply(this[group], _groups[group].Log.Of(command));

        /// <summary>What the leader of a group would propose now.</summary>
        public List<byte[]> Duties(GroupId group)
        {
            var duties = new List<byte[]>();
            var into = new ArrayBufferWriter<byte>();
            while (duties.Count < 50 && this[group].TryWriteDuty(2_000, into))
            {
                duties.Add(into.WrittenSpan.ToArray());
                into.ResetWrittenCount();
            }

            return duties;
        }

        /// <summary>Leaders do what their duties say, until there is nothing to do.</summary>
        public void Settle()
        {
            for (var round = 0; round < 20; round++)
            {
                var isQuiet = true;
                foreach (var group in Map.DataGroups)
                {
                    foreach (var command in Duties(group).DistinctBy(Convert.ToHexString))
                    {
                        isQuiet = false;
                        Apply(group, command);
                    }
                }

                if (isQuiet)
                {
                    return;
                }
            }

            Assert.Fail("The leaders never come to an end.");
        }

        public void Restore(GroupId group, Shards from)
        {
            _groups[group].Machine.Restore(Snapshot(from[group]));
            _groups[group] = (_groups[group].Machine, new Entries(1_000));
        }

        public static byte[] Snapshot(TopicStateMachine machine)
        {
            var into = new ArrayBufferWriter<byte>();
            machine.WriteSnapshot(into);
            return into.WrittenSpan.ToArray();
        }
    }
}
