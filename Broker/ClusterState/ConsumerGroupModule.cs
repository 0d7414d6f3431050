using System.Text;
using Broker.Client;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>
/// Which consumer groups the cluster has. A number is given once, so that what shards remember of a deleted group is
/// never taken for that of a later one of its name.
/// </summary>
/// <param name="changed">See <see cref="PictureModule{TPicture}"/>.</param>
public sealed partial class ConsumerGroupModule(Action<ConsumerGroups>? changed = null)
    : PictureModule<ConsumerGroups>(ConsumerGroups.Empty, changed)
{
    internal override StateSection Section => StateSection.ConsumerGroups;

    internal override byte SectionFormat => FirstFormat;

    internal override ReadOnlySpan<CommandKind> Commands =>
    [
        CommandKind.CreateConsumerGroup,
        CommandKind.UpdateConsumerGroup,
        CommandKind.DeleteConsumerGroup,
    ];

    internal override CommandResult Apply(in ApplyStep step, in Command command)
    {
        ref var hash = ref step.Hash;
        var result = command.Kind switch
        {
            CommandKind.CreateConsumerGroup => Create(ConsumerGroupCommands.ReadCreate(command), ref hash),
            CommandKind.UpdateConsumerGroup => Update(ConsumerGroupCommands.ReadUpdate(command), ref hash),
            _ => Delete(ConsumerGroupCommands.ReadDelete(command), ref hash),
        };
        result.TimestampUnixMs = step.Entry.TimestampUnixMs;
        return result;
    }

    private static CommandResult Refused(RefusalCode code) => new() { Code = code };

    private CommandResult Create(
        (string Name, GroupStart Start, ConsumerGroupSettings Settings) create, ref StateHasher hash)
    {
        var (name, start, settings) = create;
        hash.Add(name);
        hash.Add((ulong)start.Kind);
        hash.Add(start.TimeUnixMs);
        settings.AddTo(ref hash);
        if (!IsName(name) || !IsStart(start) || !IsValid(settings))
        {
            return Refused(RefusalCode.InvalidArgument);
        }

        if (Next.Find(name) is { } known)
        {
            return known.Settings == settings && known.Start == start
                ? new CommandResult { Duplicate = true, BaseOffset = known.Number }
                : Refused(RefusalCode.AlreadyExists);
        }

        if (Next.ByNumber.Count >= Limits.ConsumerGroups || Next.NextNumber == int.MaxValue)
        {
            return Refused(RefusalCode.ResourceExhausted);
        }

        var group = new ConsumerGroup(Next.NextNumber, name, settings, start);
        Next = Next.With(group) with { NextNumber = group.Number + 1 };
        return new CommandResult { BaseOffset = group.Number };
    }

    private CommandResult Update(
        (string Name, ConsumerGroupParts Parts, ConsumerGroupSettings Settings) update, ref StateHasher hash)
    {
        hash.Add(update.Name);
        hash.Add((ulong)update.Parts);
        update.Settings.AddTo(ref hash);
        if (Next.Find(update.Name) is not { } known)
        {
            return Refused(RefusalCode.NotFound);
        }

        var settings = update.Settings.Over(known.Settings, update.Parts);
        if (!IsValid(settings))
        {
            return Refused(RefusalCode.InvalidArgument);
        }

        var isSame = settings == known.Settings;
        Next = isSame ? Next : Next.With(known with { Settings = settings });
        return new CommandResult { Duplicate = isSame, BaseOffset = known.Number };
    }

    private CommandResult Delete(string name, ref StateHasher hash)
    {
        hash.Add(name);
        if (Next.Find(name) is not { } known)
        {
            return Refused(RefusalCode.NotFound);
        }

        Next = Next.Without(known);
        return new CommandResult { BaseOffset = known.Number };
    }

    private static bool IsName(string name) =>
        name.Length > 0 && Encoding.UTF8.GetByteCount(name) <= Limits.GroupNameBytes;

    private static bool IsStart(GroupStart start) =>
        start.Kind is GroupStartKind.Beginning or GroupStartKind.End or GroupStartKind.Time && start.TimeUnixMs >= 0;

    // Api says what is wrong; here it is only kept out.
    private static bool IsValid(ConsumerGroupSettings settings) =>
        settings.Filters.Length is > 0 and <= Limits.FiltersPerGroup
        && settings.Filters.All(static filter => TopicFilter.TryParse(filter, out _, out _))
        && settings.Mode is ConsumerGroupMode.Shared or ConsumerGroupMode.KeyOrdered or ConsumerGroupMode.Exclusive
        && settings.Order is >= ConsumerGroupOrder.Offset and <= ConsumerGroupOrder.Priority
        && (settings.Mode != ConsumerGroupMode.Exclusive || settings.Order == ConsumerGroupOrder.Offset)
        && settings.AckWaitMs is >= Limits.GroupAckWaitLeastMs and <= Limits.GroupWaitMostMs
        && settings.MaxDeliveries is >= 0 and <= Limits.GroupDeliveries
        && settings.BackOffMs.Length <= Limits.GroupBackOffs
        && settings.BackOffMs.All(static wait => wait is >= 0 and <= Limits.GroupWaitMostMs)
        && settings.MaxOutstanding is > 0 and <= Limits.GroupOutstandingPerShard;
}
