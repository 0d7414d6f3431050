using Broker.Client;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// How topics come to be: whether by their first publish, and with which settings by their names. It is a part of group
/// 0, which every node has, so that a leader of any shard finds it on its own node; what it says is asked when a topic
/// is not there, and never again.
/// <code>
/// section: u8 auto-create (1 on, 0 off) | varint templates
/// template, by filter: text filter | varint partitions, 0 for not set | u8 which settings are set | settings
/// </code>
/// Auto-create off, and no template:
/// <code>
/// 00 | 00
/// </code>
/// </summary>
internal sealed class TopicPolicyModule() : PictureModule<TopicPolicies>(TopicPolicies.Default)
{
    private const byte FirstFormat = 1;
    private const int LeastTemplateBytes = 2 + 1 + 1 + 4;

    internal override StateSection Section => StateSection.TopicPolicies;

    internal override byte SectionFormat => FirstFormat;

    internal override ReadOnlySpan<CommandKind> Commands => [CommandKind.TopicPolicyChanged];

    internal override CommandResult Apply(in ApplyStep step, in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var change = TopicPolicyCommands.ReadChange(ref reader);
        step.Hash.Add((ulong)change);
        var result = change switch
        {
            TopicPolicyChange.PutTemplate => Put(TopicPolicyCommands.ReadPutTemplate(ref reader), ref step.Hash),
            TopicPolicyChange.DeleteTemplate =>
                Delete(TopicPolicyCommands.ReadDeleteTemplate(ref reader), ref step.Hash),
            _ => SetAutoCreate(TopicPolicyCommands.ReadSetAutoCreate(ref reader), ref step.Hash),
        };
        result.TimestampUnixMs = step.Entry.TimestampUnixMs;
        return result;
    }

    internal override void Write(ref SnapshotWriter writer)
    {
        writer.PutByte(Current.AutoCreate ? (byte)1 : (byte)0);
        writer.PutVarint(Current.Templates.Count);
        foreach (var (filter, template) in Current.Templates)
        {
            writer.PutText(filter);
            writer.PutVarint(template.Partitions);
            writer.PutByte((byte)template.Parts);
            template.Settings.Write(ref writer);
        }
    }

    internal override Action Read(ref SnapshotReader reader, byte format, in SnapshotMoment moment)
    {
        reader.Check(format == FirstFormat, "the policies' section has a format that is known");
        var autoCreate = reader.TakeByte();
        reader.Check(autoCreate <= 1, "auto-create is on or off");
        var templates = new List<TopicTemplate>();
        var before = "";
        for (var left = reader.TakeCount(Limits.TopicTemplates, LeastTemplateBytes); left > 0; left--)
        {
            var text = reader.TakeText(Limits.TopicNameBytes);
            reader.Check(string.CompareOrdinal(before, text) < 0, "templates stand in rising order");
            before = text;
            var isFilter = TopicFilter.TryParse(text, out var filter, out _);
            reader.Check(isFilter, "a template's filter is one");
            var partitions = (int)reader.TakeVarint(Limits.PartitionsPerTopic);
            var parts = (TopicSettingParts)reader.TakeByte();
            reader.Check((parts & ~TopicSettingParts.All) == 0, "a template's settings are known");
            var settings = TopicSettings.Read(ref reader, hasCompaction: true);
            templates.Add(new TopicTemplate(filter!, partitions, parts, settings));
        }

        var policies = TopicPolicies.Default.WithAutoCreate(autoCreate == 1).With(templates);
        return () => Show(policies);
    }

    private CommandResult Put(
        (int Partitions, string Filter, TopicSettingParts Parts, TopicSettings Settings) put, ref StateHasher hash)
    {
        hash.Add(put.Filter);
        hash.Add(put.Partitions);
        hash.Add((ulong)put.Parts);
        put.Settings.AddTo(ref hash);
        if (!TopicFilter.TryParse(put.Filter, out var filter, out _))
        {
            return new CommandResult { Code = RefusalCode.InvalidArgument };
        }

        var template = new TopicTemplate(filter, put.Partitions, put.Parts, put.Settings);
        var known = Next.Templates.GetValueOrDefault(put.Filter);
        if (known is null && Next.Templates.Count >= Limits.TopicTemplates)
        {
            return new CommandResult { Code = RefusalCode.ResourceExhausted };
        }

        Next = known == template ? Next : Next.With(template);
        return new CommandResult { Duplicate = known == template };
    }

    private CommandResult Delete(string filter, ref StateHasher hash)
    {
        hash.Add(filter);
        var isThere = Next.Templates.ContainsKey(filter);
        Next = isThere ? Next.Without(filter) : Next;
        return new CommandResult { Duplicate = !isThere };
    }

    private CommandResult SetAutoCreate(bool isOn, ref StateHasher hash)
    {
        hash.Add(isOn ? 1 : 0);
        var isSo = Next.AutoCreate == isOn;
        Next = isSo ? Next : Next.WithAutoCreate(isOn);
        return new CommandResult { Duplicate = isSo };
    }
}
