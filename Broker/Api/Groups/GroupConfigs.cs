using System.Collections.Immutable;
using System.Text;
using Broker.Client;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Protocol.V1;
using GroupMode = Broker.Protocol.V1.GroupMode;
using GroupOrder = Broker.Protocol.V1.GroupOrder;

namespace Broker.Api;

/// <summary>From the contract's GroupConfig to the state's settings, and back.</summary>
internal static class GroupConfigs
{
    /// <exception cref="BrokerException">InvalidArgument: no group can have that name.</exception>
    public static void CheckName(string name)
    {
        if (!TopicName.ValidateForPublish(name, out var reason))
        {
            throw Refusal.InvalidArgument(
                $"A consumer group is named as a topic is, for its dead letters are one. {reason}");
        }

        if (Encoding.UTF8.GetByteCount(name) is > Limits.GroupNameBytes and var length)
        {
            throw Refusal.InvalidArgument(
                $"The consumer group's name has {length} bytes; it has at most {Limits.GroupNameBytes}.");
        }
    }

    /// <summary>What a new group has, and where it begins.</summary>
    /// <exception cref="BrokerException">
    /// InvalidArgument: a value that cannot be, or two that cannot be together.
    /// </exception>
    public static (ConsumerGroupSettings Settings, GroupStart Start) ReadNew(GroupConfig? config)
    {
        config ??= new GroupConfig();
        if (config.Filters.Count == 0)
        {
            throw Refusal.InvalidArgument("config.filters is empty; a consumer group follows at least one filter.");
        }

        return (Read(config), ReadStart(config));
    }

    /// <summary>What is to change in a group, and which parts that are.</summary>
    /// <exception cref="BrokerException">As above.</exception>
    public static (ConsumerGroupSettings Settings, ConsumerGroupParts Parts) ReadChange(GroupConfig? config)
    {
        config ??= new GroupConfig();
        if (config.StartCase != GroupConfig.StartOneofCase.None)
        {
            throw Refusal.InvalidArgument(
                "config says where the group begins, which is over when it was made; SeekGroup moves it.");
        }

        ConsumerGroupParts If(bool isSet, ConsumerGroupParts part) => isSet ? part : ConsumerGroupParts.None;
        return (
            Read(config),
            If(config.Filters.Count > 0, ConsumerGroupParts.Filters)
            | If(config.AckWaitMs is not null, ConsumerGroupParts.AckWait)
            | If(config.MaxDeliveries is not null, ConsumerGroupParts.MaxDeliveries)
            | If(config.BackOff is not null, ConsumerGroupParts.BackOff)
            | If(config.MaxOutstanding is not null, ConsumerGroupParts.MaxOutstanding)
            | If(config.DeadLetters is not null, ConsumerGroupParts.DeadLetters)
            | If(config.Paused is not null, ConsumerGroupParts.Paused)
            | If(config.Order != GroupOrder.Unspecified, ConsumerGroupParts.Order));
    }

    /// <summary>With every field set.</summary>
    public static GroupConfig Write(ConsumerGroup group)
    {
        var settings = group.Settings;
        var config = new GroupConfig
        {
            Filters = { settings.Filters },
            Mode = (GroupMode)settings.Mode,
            Order = settings.Order switch
            {
                ConsumerGroupOrder.Fair => GroupOrder.Fair,
                ConsumerGroupOrder.Priority => GroupOrder.Priority,
                _ => GroupOrder.Offset,
            },
            AckWaitMs = (ulong)settings.AckWaitMs,
            MaxDeliveries = (uint)settings.MaxDeliveries,
            BackOff = new BackOff { WaitMs = { settings.BackOffMs.Select(static wait => (ulong)wait) } },
            MaxOutstanding = (uint)settings.MaxOutstanding,
            DeadLetters = settings.KeepsDeadLetters,
            Paused = settings.IsPaused,
        };
        if (group.Start.Kind == GroupStartKind.Time)
        {
            config.TimeUnixMs = group.Start.TimeUnixMs;
        }
        else
        {
            config.Position =
                group.Start.Kind == GroupStartKind.End ? StartPosition.End : StartPosition.Beginning;
        }

        return config;
    }

    /// <summary>Null: the request does not say.</summary>
    /// <exception cref="BrokerException">InvalidArgument.</exception>
    public static ConsumerGroupMode? ReadMode(int mode) => (GroupMode)mode switch
    {
        GroupMode.Unspecified => null,
        GroupMode.Shared => ConsumerGroupMode.Shared,
        GroupMode.KeyOrdered => ConsumerGroupMode.KeyOrdered,
        GroupMode.Exclusive => ConsumerGroupMode.Exclusive,
        _ => throw Refusal.InvalidArgument($"Group mode {mode} does not exist."),
    };

    /// <exception cref="BrokerException">InvalidArgument: too many, or a bad one.</exception>
    public static void CheckFilters(IReadOnlyCollection<string> filters)
    {
        if (filters.Count > Limits.FiltersPerGroup)
        {
            throw Refusal.InvalidArgument(
                $"A consumer group has at most {Limits.FiltersPerGroup} filters, not {filters.Count:N0}; '>' matches "
                + "every topic.");
        }

        foreach (var filter in filters)
        {
            if (!TopicFilter.TryParse(filter, out _, out var reason))
            {
                throw Refusal.InvalidArgument(reason);
            }
        }
    }

    private static ConsumerGroupSettings Read(GroupConfig config)
    {
        CheckFilters(config.Filters);
        var defaults = new ConsumerGroupSettings { Filters = [] };
        var settings = new ConsumerGroupSettings
        {
            Filters = [.. config.Filters],
            Mode = ReadMode((int)config.Mode) ?? ConsumerGroupMode.Shared,
            Order = ReadOrder(config.Order),
            AckWaitMs = config.AckWaitMs is { } wait
                ? Number("ack_wait_ms", wait, Limits.GroupAckWaitLeastMs, Limits.GroupWaitMostMs)
                : defaults.AckWaitMs,
            MaxDeliveries = config.MaxDeliveries is { } deliveries
                ? (int)Number("max_deliveries", deliveries, 0, Limits.GroupDeliveries)
                : defaults.MaxDeliveries,
            BackOffMs = ReadBackOff(config.BackOff),
            MaxOutstanding = config.MaxOutstanding is { } most
                ? (int)Number("max_outstanding", most, 1, Limits.GroupOutstandingPerShard)
                : defaults.MaxOutstanding,
            KeepsDeadLetters = config.DeadLetters ?? true,
            IsPaused = config.Paused ?? false,
        };
        CheckOrder(settings);
        return settings;
    }

    /// <summary>Who gets everything gets it by offset.</summary>
    /// <exception cref="BrokerException">InvalidArgument.</exception>
    public static void CheckOrder(ConsumerGroupSettings settings)
    {
        if (settings is { Mode: ConsumerGroupMode.Exclusive, Order: not ConsumerGroupOrder.Offset })
        {
            throw Refusal.InvalidArgument(
                "An exclusive consumer group delivers each topic by offset: config.order is OFFSET, or absent. Take "
                + "mode SHARED or KEY_ORDERED for another order.");
        }
    }

    private static ConsumerGroupOrder ReadOrder(GroupOrder order) => order switch
    {
        GroupOrder.Unspecified or GroupOrder.Offset => ConsumerGroupOrder.Offset,
        GroupOrder.Fair => ConsumerGroupOrder.Fair,
        GroupOrder.Priority => ConsumerGroupOrder.Priority,
        _ => throw Refusal.InvalidArgument($"config.order {(int)order} does not exist."),
    };

    private static ImmutableArray<long> ReadBackOff(BackOff? backOff)
    {
        if (backOff?.WaitMs.Count > Limits.GroupBackOffs)
        {
            throw Refusal.InvalidArgument(
                $"config.back_off has {backOff.WaitMs.Count:N0} waits; it has at most {Limits.GroupBackOffs}, and the "
                + "last one holds for all further deliveries.");
        }

        return [.. (backOff?.WaitMs ?? []).Select(
            static wait => Number("back_off.wait_ms", wait, 0, Limits.GroupWaitMostMs))];
    }

    private static long Number(string field, ulong value, long least, long most) =>
        value >= (ulong)least && value <= (ulong)most
            ? (long)value
            : throw Refusal.InvalidArgument($"config.{field} is {value:N0}; it is {least:N0} to {most:N0}.");

    private static GroupStart ReadStart(GroupConfig config)
    {
        if (config.StartCase == GroupConfig.StartOneofCase.TimeUnixMs)
        {
            return config.TimeUnixMs >= 0
                ? new GroupStart(GroupStartKind.Time, config.TimeUnixMs)
                : throw Refusal.InvalidArgument(
                    $"config.time_unix_ms is {config.TimeUnixMs}; a time is in milliseconds since 1970 and not "
                    + "negative.");
        }

        return config.Position switch
        {
            StartPosition.Unspecified or StartPosition.Beginning => new GroupStart(GroupStartKind.Beginning),
            StartPosition.End => new GroupStart(GroupStartKind.End),
            StartPosition.LastPerKey => throw Refusal.InvalidArgument(
                "A consumer group begins at BEGINNING, at END or at a time: it gets every record, so LAST_PER_KEY is "
                + "not for it."),
            _ => throw Refusal.InvalidArgument($"Start position {(int)config.Position} does not exist."),
        };
    }
}
