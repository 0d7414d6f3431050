using System.Buffers;
using Broker.Client;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Replication;
using Broker.Topics;
using Xunit;
using TopicSettings = Broker.Topics.TopicSettings;

namespace Broker.Tests.Unit.Topics;

public sealed class TopicPolicyTests
{
    private readonly Entries _entries = new();
    private readonly MetadataStateMachine _machine = NewMachine();

    private TopicPolicies Policies => _machine.Module<TopicPolicyModule>().Current;

    [Fact]
    public void At_first_topics_are_made_by_their_first_publish_as_ever()
    {
        Assert.True(Policies.IsDefault);
        Assert.False(Policies.TryMatch("a", out _));
    }

    [Theory]
    [InlineData("orders.eu.new", "orders.eu.new")]
    [InlineData("orders.eu.old", "orders.eu.*")]
    [InlineData("orders.us.new", "orders.*.new")]
    [InlineData("orders.us.old", "orders.>")]
    [InlineData("orders.us", "orders.>")]
    [InlineData("orders", "*")]
    [InlineData("stock.eu", "*.eu")]
    [InlineData("stock.us", ">")]
    public void The_most_specific_template_holds(string topic, string filter)
    {
        string[] filters =
            [">", "*", "orders.>", "*.eu", "orders.*.new", "orders.eu.*", "orders.eu.new", "*.>.x", "orders.eu.new.x"];
        foreach (var (at, each) in filters.Where(static each => TopicFilter.TryParse(each, out _, out _)).Index())
        {
            Put(each, new TopicSettings { MaxRecords = at + 1 });
        }

        Assert.True(Policies.TryMatch(topic, out var template));
        Assert.Equal(filter, $"{template.Filter}");
    }

    [Fact]
    public void Templates_are_put_replaced_and_removed_and_a_repetition_is_none()
    {
        var first = new TopicSettings { MaxRecords = 1 };
        Assert.False(Put("a.*", first).Duplicate);
        Assert.True(Put("a.*", first).Duplicate);
        Assert.False(Put("a.*", first, partitions: 3).Duplicate);
        var template = Assert.Single(Policies.Templates).Value;
        Assert.Equal((3, TopicSettingParts.MaxRecords), (template.Partitions, template.Parts));
        Assert.Equal(1, template.Settings.MaxRecords);
        Assert.False(Delete("a.*").Duplicate);
        Assert.True(Delete("a.*").Duplicate);
        Assert.True(Policies.IsDefault);
        Assert.False(SetAutoCreate(false).Duplicate);
        Assert.True(SetAutoCreate(false).Duplicate);
        Assert.False(Policies.IsDefault);
        Assert.False(SetAutoCreate(true).Duplicate);
        Assert.True(Policies.IsDefault);
    }

    [Fact]
    public void There_are_only_so_many_templates()
    {
        for (var i = 0; i < Limits.TopicTemplates; i++)
        {
            Assert.Equal(RefusalCode.None, Put($"t{i}", TopicSettings.Default).Code);
        }

        Assert.Equal(RefusalCode.ResourceExhausted, Put("more", TopicSettings.Default).Code);
        Assert.Equal(RefusalCode.None, Put("t7", new TopicSettings { MaxBytes = 1 }).Code);
        Delete("t8");
        Assert.Equal(RefusalCode.None, Put("more", TopicSettings.Default).Code);
    }

    [Fact]
    public void A_snapshot_brings_the_policies_and_one_of_before_them_brings_none()
    {
        var before = new MetadataStateMachine();
        SetAutoCreate(false);
        Put("a.>", new TopicSettings { MaxAgeMs = 5 }, partitions: 2);
        Put("b", TopicSettings.Default);
        var snapshot = new ArrayBufferWriter<byte>();
        _machine.WriteSnapshot(snapshot);
        var after = NewMachine();
        after.Restore(snapshot.WrittenSpan);
        var restored = after.Module<TopicPolicyModule>().Current;
        Assert.False(restored.AutoCreate);
        Assert.Equal(Policies.Templates, restored.Templates);
        Assert.Equal(_machine.StateHash, after.StateHash);
        var again = new ArrayBufferWriter<byte>();
        after.WriteSnapshot(again);
        Assert.Equal(snapshot.WrittenSpan.ToArray(), again.WrittenSpan.ToArray());

        // Of a version that had no policies.
        var former = new ArrayBufferWriter<byte>();
        before.WriteSnapshot(former);
        after.Restore(former.WrittenSpan);
        Assert.True(after.Module<TopicPolicyModule>().Current.IsDefault);
    }

    [Fact]
    public void The_bytes_are_as_described()
    {
        Assert.Equal(
            new byte[] { 3, 0, 0, 0, 22, 3, 0 },
            Entries.Metadata(static into => TopicPolicyCommands.WriteSetAutoCreate(into, false)));
        Assert.Equal(
            new byte[] { 5, 0, 0, 0, 22, 2, 0x61, 0x2E, 0x2A },
            Entries.Metadata(static into => TopicPolicyCommands.WriteDeleteTemplate(into, "a.*")));
    }

    [Fact]
    public void A_damaged_section_is_refused_whole()
    {
        Put("a", new TopicSettings { MaxRecords = 9 });
        var snapshot = new ArrayBufferWriter<byte>();
        _machine.WriteSnapshot(snapshot);
        var bytes = snapshot.WrittenSpan.ToArray();
        Assert.Throws<InvalidDataException>(() => NewMachine().Restore(bytes.AsSpan(0, bytes.Length - 1)));
        Assert.Throws<InvalidDataException>(() => NewMachine().Restore([.. bytes, 0]));
    }

    private static MetadataStateMachine NewMachine() => new(null, null, static () => [new TopicPolicyModule()]);

    private CommandResult Put(string filter, TopicSettings settings, int partitions = 0) => Entries.Apply(
        _machine,
        _entries.Of(Entries.Metadata(into => TopicPolicyCommands.WritePutTemplate(
            into, new TopicTemplate(TopicFilter.Parse(filter), partitions, TopicSettingParts.MaxRecords, settings)))));

    private CommandResult Delete(string filter) => Entries.Apply(
        _machine, _entries.Of(Entries.Metadata(into => TopicPolicyCommands.WriteDeleteTemplate(into, filter))));

    private CommandResult SetAutoCreate(bool isOn) => Entries.Apply(
        _machine, _entries.Of(Entries.Metadata(into => TopicPolicyCommands.WriteSetAutoCreate(into, isOn))));
}
