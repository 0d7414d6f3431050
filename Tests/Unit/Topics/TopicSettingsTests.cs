using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.State;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class TopicSettingsTests
{
    private readonly Entries _entries = new();
    private readonly IndexFolder _folder = new();
    private readonly TopicStateMachine _machine;

    public TopicSettingsTests()
    {
        _machine = new TopicStateMachine(new NoSink(), new TopicBounds { Topics = 3 });
        _machine.AttachIndexes(_folder.Read);
    }

    [Fact]
    public void A_topic_command_has_the_documented_bytes()
    {
        var settings = new TopicSettings { MaxAgeMs = 1, MaxBytes = 2, MaxRecords = 3, MaxMessageBytes = 4 };
        const string Settings = "0100000000000000" + "0200000000000000" + "0300000000000000" + "04000000";
        Assert.Equal(
            "20000000" + "03" + "0161" + "7F" + Settings,
            Hex(into => TopicCommands.WriteCreateTopic(into, "a", settings)));
        Assert.Equal(
            "20000000" + "04" + "0161" + "06" + Settings,
            Hex(into => TopicCommands.WriteUpdateTopic(
                into, "a", TopicSettingParts.MaxBytes | TopicSettingParts.MaxRecords, settings)));
        Assert.Equal("02000000" + "05" + "61", Hex(into => TopicCommands.WriteDeleteTopic(into, "a")));
        Assert.Equal(
            "11000000" + "07" + "05000000" + "02000000" + "0900000000000000",
            Hex(into => TopicCommands.WriteTrimTopic(into, 5, 2, 9)));
        Assert.Equal(
            "25000000" + "06" + "0700000000000000" + "0161" + "0000000000000000" + "00000000" + "0000000000000000"
            + "01000000" + "0A00",
            Convert.ToHexString(Entries.PublishCommand("a", [0x0A, 0x00], expectedOffset: 7)));
    }

    [Fact]
    public void A_topic_is_made_once_and_is_empty()
    {
        var settings = new TopicSettings { MaxRecords = 5 };
        Assert.Equal(RefusalCode.None, Create("a", settings).Code);
        Assert.True(Create("a", settings).Duplicate);
        Assert.Equal(RefusalCode.AlreadyExists, Create("a", settings with { MaxBytes = 1 }).Code);
        Assert.Equal((0L, 0L, settings), (Topic("a").FirstOffset, Topic("a").NextOffset, Topic("a").Settings));
        Assert.Equal(0, Publish("a", 2).BaseOffset);
    }

    [Fact]
    public void A_topic_that_a_publish_made_has_the_defaults()
    {
        Publish("a", 1);
        Assert.True(Create("a", TopicSettings.Default).Duplicate);
        Assert.Equal(RefusalCode.AlreadyExists, Create("a", new TopicSettings { MaxRecords = 1 }).Code);
    }

    [Fact]
    public void There_is_a_bound_on_topics_which_a_deletion_frees()
    {
        foreach (var name in new[] { "a", "b", "c" })
        {
            Assert.Equal(RefusalCode.None, Create(name, TopicSettings.Default).Code);
        }

        Assert.Equal(RefusalCode.ResourceExhausted, Create("d", TopicSettings.Default).Code);
        Assert.Equal(RefusalCode.None, Delete("b").Code);
        Assert.Equal(RefusalCode.None, Create("d", TopicSettings.Default).Code);
        Assert.Equal(["a", "c", "d"], _machine.ListTopics().Select(topic => topic.Name));
    }

    [Fact]
    public void An_update_changes_what_it_names()
    {
        Create("a", new TopicSettings { MaxAgeMs = 1, MaxBytes = 2, MaxRecords = 3, MaxMessageBytes = 4 });
        var other = new TopicSettings { MaxAgeMs = 5, MaxBytes = 0, MaxRecords = 7, MaxMessageBytes = 8 };
        Assert.Equal(RefusalCode.None, Update("a", TopicSettingParts.MaxBytes | TopicSettingParts.MaxRecords, other));
        Assert.Equal(
            new TopicSettings { MaxAgeMs = 1, MaxBytes = 0, MaxRecords = 7, MaxMessageBytes = 4 }, Topic("a").Settings);
        Assert.Equal(RefusalCode.NotFound, Update("b", TopicSettingParts.All, other));
    }

    [Fact]
    public void A_deleted_topic_is_gone_and_one_of_its_name_is_another()
    {
        var first = Entries.Apply(_machine, _entries.Publish("a", 3, id: 7));
        var old = Topic("a");
        Assert.Equal(RefusalCode.None, Delete("a").Code);
        Assert.Equal(RefusalCode.NotFound, Delete("a").Code);
        Assert.False(_machine.TryGetTopic("a", out _));
        Assert.Equal(new LogIndex(long.MaxValue), _machine.FirstNeeded);

        // Nothing is remembered of the producer either: what it sends again belongs to the new topic.
        var again = Entries.Apply(_machine, _entries.Publish("a", 2, id: 7));
        Assert.Equal((0L, false), (again.BaseOffset, again.Duplicate));
        Assert.NotEqual(first.Topic, again.Topic);
        Assert.NotEqual(old.Number, Topic("a").Number);
        Assert.Equal(2, Topic("a").NextOffset);
    }

    [Fact]
    public void A_number_is_not_given_again_after_a_restart()
    {
        Publish("a", 1);
        Publish("b", 1);
        Delete("b");
        var snapshot = new ArrayBufferWriter<byte>();
        _machine.WriteSnapshot(snapshot);
        _machine.Restore(snapshot.WrittenSpan);
        Assert.Equal(2, Publish("b", 1).Topic);
    }

    [Fact]
    public void An_index_file_that_names_a_deleted_topic_is_of_use_for_the_others()
    {
        Publish("a", 3);
        Publish("b", 2);
        _folder.Write(_machine, 1, 2);
        Delete("a");
        Publish("a", 1);
        _folder.Use(_machine, 1);
        Assert.Equal(2, Located.At(Topic("b"), 1)!.Value.Count);
        Assert.Equal(1, Located.At(Topic("a"), 0)!.Value.Count);
    }

    [Theory]
    [InlineData(0, false, RefusalCode.None)]
    [InlineData(1, false, RefusalCode.UnexpectedOffset)]
    [InlineData(3, true, RefusalCode.None)]
    [InlineData(0, true, RefusalCode.UnexpectedOffset)]
    [InlineData(4, true, RefusalCode.UnexpectedOffset)]
    public void A_publish_at_an_offset_is_stored_there_or_not_at_all(long expected, bool isThere, RefusalCode code)
    {
        if (isThere)
        {
            Publish("a", 3);
        }

        var result = Entries.Apply(
            _machine, _entries.Of(Entries.PublishCommand("a", Entries.Batch(2), 2, expectedOffset: expected)));
        Assert.Equal(code, result.Code);
        var isStored = code == RefusalCode.None;
        Assert.Equal(isThere || isStored, _machine.TryGetTopic("a", out var topic));
        var next = isThere ? 3L : 0L;
        Assert.Equal((isStored ? expected : 0, isStored ? 0 : (ulong)next), (result.BaseOffset, result.Expected));
        if (isThere || isStored)
        {
            Assert.Equal(isStored ? next + 2 : next, topic.NextOffset);
        }
    }

    [Fact]
    public void A_repetition_is_answered_as_such_whatever_offset_it_expects()
    {
        var stamp = new PublishStamp(7, 0, 0);
        var command = Entries.PublishCommand("a", Entries.Batch(2), 2, stamp, expectedOffset: 0);
        var first = Entries.Apply(_machine, _entries.Of(command));
        Assert.Equal(first with { Duplicate = true }, Entries.Apply(_machine, _entries.Of(command)));

        // What is refused is not remembered: the producer sends the same sequence again with another condition.
        var next = new PublishStamp(7, 0, 2);
        Assert.Equal(
            RefusalCode.UnexpectedOffset,
            Entries.Apply(
                _machine,
                _entries.Of(Entries.PublishCommand("a", Entries.Batch(1), 1, next, expectedOffset: 0))).Code);
        Assert.Equal(
            2,
            Entries.Apply(
                _machine,
                _entries.Of(Entries.PublishCommand("a", Entries.Batch(1), 1, next, expectedOffset: 2))).BaseOffset);
    }

    [Fact]
    public void A_topic_refuses_records_larger_than_it_takes()
    {
        Create("a", new TopicSettings { MaxMessageBytes = 2 });

        // Two records with values of two bytes and of three; a key counts for itself.
        byte[] fits = [0x0A, 0x04, 0x12, 0x02, 1, 2, 0x0A, 0x06, 0x0A, 0x04, 1, 2, 3, 4];
        byte[] tooLarge = [.. fits, 0x0A, 0x05, 0x12, 0x03, 1, 2, 3];
        var taken = Entries.Apply(_machine, _entries.Of(Entries.PublishCommand("a", fits, 2)));
        var refused = Entries.Apply(_machine, _entries.Of(Entries.PublishCommand("a", tooLarge, 3)));
        Assert.Equal((RefusalCode.None, 0L), (taken.Code, taken.BaseOffset));
        Assert.Equal((RefusalCode.MessageTooLarge, 2UL), (refused.Code, refused.Expected));
        Assert.Equal(2, Topic("a").NextOffset);
    }

    [Fact]
    public void The_number_of_records_is_kept_to_exactly()
    {
        Create("a", new TopicSettings { MaxRecords = 4 });
        Publish("a", 3);
        Publish("a", 3);
        Assert.Equal(1, Trim());
        Assert.Equal((2L, 6L), (Topic("a").FirstOffset, Topic("a").NextOffset));
        Assert.Equal(0, Trim());
    }

    [Fact]
    public void What_is_older_than_the_topic_keeps_goes()
    {
        Create("a", new TopicSettings { MaxAgeMs = 600_000 });
        var first = _entries.Publish("a", 2);
        _machine.Apply(first, []);
        _entries.Advance(300_000);
        _machine.Apply(_entries.Publish("a", 3), []);
        Assert.Equal(0, Trim(first.TimestampUnixMs + 600_000));
        Assert.Equal(1, Trim(first.TimestampUnixMs + 600_001));
        Assert.Equal(2, Topic("a").FirstOffset);
        Assert.Equal(1, Trim(first.TimestampUnixMs + 1_000_000));
        Assert.Equal((5L, 5L), (Topic("a").FirstOffset, Topic("a").NextOffset));
        Assert.Equal(new LogIndex(long.MaxValue), _machine.FirstNeeded);
    }

    [Fact]
    public void What_is_in_index_files_goes_file_by_file()
    {
        Create("a", new TopicSettings { MaxAgeMs = 1_000 });
        for (var i = 0; i < 6; i++)
        {
            Publish("a", 1);
            _entries.Advance(990);
        }

        // Entries 2 to 4 and 5 to 6 are sealed, 7 is in memory; they came 1,000 ms apart, from 1,020 on.
        _folder.Seal(_machine, 2, 4);
        _folder.Seal(_machine, 5, 6);
        Assert.Equal(0, Trim(3_020 + 1_000));
        Assert.Equal(1, Trim(3_020 + 1_001));
        Assert.Equal(3, Topic("a").FirstOffset);
        Assert.Equal(1, Trim(5_020 + 1_001));
        Assert.Equal(5, Topic("a").FirstOffset);
        Assert.Equal(0, Trim(6_020 + 1_000));
        Assert.Equal(1, Trim(6_020 + 1_001));
        Assert.Equal(6, Topic("a").FirstOffset);
    }

    [Theory]
    [InlineData(12, 0)]
    [InlineData(11, 0)]
    [InlineData(8, 0)]
    [InlineData(6, 3)]
    [InlineData(4, 4)]
    [InlineData(3, 4)]
    [InlineData(1, 5)]
    public void So_many_bytes_are_kept_at_least(long maxBytes, long first)
    {
        Create("a", new TopicSettings { MaxBytes = maxBytes });
        for (var i = 0; i < 6; i++)
        {
            Publish("a", 1);
        }

        // Each batch has two bytes. Three are in an index file, three in memory.
        _folder.Seal(_machine, 2, 4);
        Assert.Equal(12, Topic("a").SizeBytes);
        Trim();
        Assert.Equal(first, Topic("a").FirstOffset);
        Assert.True(Topic("a").SizeBytes >= maxBytes);
    }

    [Fact]
    public void Every_topic_gets_its_turn_and_only_those_with_limits()
    {
        Create("a", new TopicSettings { MaxRecords = 1 });
        Create("b", TopicSettings.Default);
        Create("c", new TopicSettings { MaxRecords = 1 });
        foreach (var name in new[] { "a", "b", "c" })
        {
            Publish(name, 3);
        }

        Assert.Equal(2, Trim());
        Assert.Equal([2L, 0L, 2L], _machine.ListTopics().Select(topic => topic.FirstOffset));
        Update("a", TopicSettingParts.MaxRecords, TopicSettings.Default);
        Update("b", TopicSettingParts.MaxRecords, new TopicSettings { MaxRecords = 2 });
        Publish("a", 1);
        Assert.Equal(1, Trim());
        Assert.Equal([2L, 1L, 2L], _machine.ListTopics().Select(topic => topic.FirstOffset));
    }

    [Fact]
    public void A_topic_is_asked_once_until_its_trim_was_applied_and_again_when_the_trim_was_lost()
    {
        Create("a", new TopicSettings { MaxRecords = 1 });
        Create("b", new TopicSettings { MaxRecords = 1 });
        Publish("a", 3);
        Publish("b", 3);
        var trims = new List<byte[]>();
        for (var round = 0; round < 2; round++)
        {
            // Nothing was applied of the first round's: the leader lost its office, and has it again.
            trims.Clear();
            var trim = new ArrayBufferWriter<byte>();
            while (trims.Count < 10 && _machine.TryWriteDuty(0, trim))
            {
                trims.Add(trim.WrittenSpan.ToArray());
                trim.ResetWrittenCount();
            }

            Assert.Equal(2, trims.Count);
        }

        _machine.Apply(_entries.Of([.. trims]), []);
        Assert.Equal((2L, 2L), (Topic("a").FirstOffset, Topic("b").FirstOffset));
        Assert.False(_machine.TryWriteDuty(0, new ArrayBufferWriter<byte>()));
    }

    [Fact]
    public void A_trim_that_comes_after_the_deletion_does_not_meet_the_new_topic()
    {
        Create("a", new TopicSettings { MaxRecords = 1 });
        Publish("a", 3);
        var trim = new ArrayBufferWriter<byte>();
        Assert.True(_machine.TryWriteDuty(0, trim));
        Delete("a");
        Publish("a", 5);
        _machine.Apply(_entries.Of(trim.WrittenSpan.ToArray()), []);
        Assert.Equal(0, Topic("a").FirstOffset);
    }

    [Fact]
    public void A_trim_by_settings_that_have_changed_since_removes_nothing()
    {
        Create("a", new TopicSettings { MaxRecords = 1 });
        Publish("a", 3);
        var trim = new ArrayBufferWriter<byte>();
        Assert.True(_machine.TryWriteDuty(0, trim));
        Update("a", TopicSettingParts.MaxRecords, new TopicSettings { MaxRecords = 5 });
        _machine.Apply(_entries.Of(trim.WrittenSpan.ToArray()), []);
        Assert.Equal(0, Topic("a").FirstOffset);
    }

    [Fact]
    public void A_time_is_found_in_index_files_and_in_memory()
    {
        for (var i = 0; i < 9; i++)
        {
            Publish("a", 2);
        }

        // Batches of two records each, at 1,010, 1,020, ... 1,090.
        _folder.Seal(_machine, 1, 3);
        _folder.Seal(_machine, 4, 6);
        var topic = Topic("a");
        for (var time = 1_000; time < 1_110; time++)
        {
            Assert.True(topic.TryFindTime(time, out var offset));
            Assert.Equal(Math.Min(18, Math.Max(0, (time - 1_001) / 10) * 2), offset);
        }

        Entries.Apply(_machine, _entries.Purge("a", 5));
        Assert.True(Topic("a").TryFindTime(0, out var first));
        Assert.Equal(5, first);
        _folder.Delete(4);
        Assert.False(Topic("a").TryFindTime(1_045, out _));
    }

    private static string Hex(Action<IBufferWriter<byte>> write) => Convert.ToHexString(Entries.Metadata(write));

    /// <summary>Does what is due until nothing is; says how much it was.</summary>
    private int Trim(long nowUnixMs = 1_000_000_000)
    {
        for (var count = 0; ; count++)
        {
            var command = new ArrayBufferWriter<byte>();
            if (!_machine.TryWriteDuty(nowUnixMs, command))
            {
                return count;
            }

            foreach (var each in new CommandSequence(command.WrittenSpan))
            {
                Assert.Equal(CommandKind.TrimTopic, each.Kind);
            }

            Assert.Equal(
                RefusalCode.None,
                Entries.Apply(_machine, _entries.Of(command.WrittenSpan.ToArray())).Code);
        }
    }

    private TopicView Topic(string name)
    {
        Assert.True(_machine.TryGetTopic(name, out var topic));
        return topic;
    }

    private CommandResult Publish(string topic, int records) =>
        Entries.Apply(_machine, _entries.Publish(topic, records));

    private CommandResult Create(string topic, TopicSettings settings) => Entries.Apply(
        _machine, _entries.Of(Entries.Metadata(into => TopicCommands.WriteCreateTopic(into, topic, settings))));

    private RefusalCode Update(string topic, TopicSettingParts parts, TopicSettings settings) => Entries.Apply(
        _machine,
        _entries.Of(Entries.Metadata(into => TopicCommands.WriteUpdateTopic(into, topic, parts, settings)))).Code;

    private CommandResult Delete(string topic) => Entries.Apply(
        _machine, _entries.Of(Entries.Metadata(into => TopicCommands.WriteDeleteTopic(into, topic))));
}
