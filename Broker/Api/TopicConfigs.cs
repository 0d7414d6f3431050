using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;
using TopicTemplate = Broker.Topics.TopicTemplate;

namespace Broker.Api;

/// <summary>From the contract's TopicConfig to the state's TopicSettings, and back.</summary>
internal static class TopicConfigs
{
    /// <summary>The settings, and which of them the config sets; the others have their defaults.</summary>
    /// <exception cref="Grpc.Core.RpcException">
    /// InvalidArgument: a value that cannot be, or values that cannot be together.
    /// </exception>
    public static (TopicSettings Settings, TopicSettingParts Parts) Read(TopicConfig? config)
    {
        try
        {
            if (config?.Partitions is 0 or > Limits.PartitionsPerTopic)
            {
                throw Refusal.InvalidArgument(
                    $"config.partitions is {config.Partitions:N0}; a topic has 1 to {Limits.PartitionsPerTopic:N0}.");
            }

            if (config?.MaxMessageBytes is 0 or > Limits.RecordBytes)
            {
                throw Refusal.InvalidArgument(
                    $"config.max_message_bytes is {config.MaxMessageBytes:N0}; it is 1 to {Limits.RecordBytes:N0}.");
            }

            var settings = new TopicSettings
            {
                MaxAgeMs = Number("max_age_ms", config?.MaxAgeMs),
                MaxBytes = Number("max_bytes", config?.MaxBytes),
                MaxRecords = Number("max_records", config?.MaxRecords),
                MaxMessageBytes = (int?)config?.MaxMessageBytes ?? TopicSettings.Default.MaxMessageBytes,
                Compact = config?.Compact ?? false,
                CompactAfterMs = Number("compact_after_ms", config?.CompactAfterMs),
                DeleteMarkerMs = config?.DeleteMarkerMs is { } marker
                    ? Number("delete_marker_ms", marker)
                    : TopicSettings.DefaultDeleteMarkerMs,
            };
            return settings.Contradiction is { } contradiction
                ? throw Refusal.InvalidArgument($"config.{contradiction}")
                : (settings, PartsOf(config));
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }
    }

    /// <summary>With those fields set that a template sets.</summary>
    public static TopicConfig WriteSet(TopicTemplate template)
    {
        var all = Write(template.Settings, Math.Max(1, template.Partitions));
        return new TopicConfig
        {
            Partitions = template.Partitions > 0 ? all.Partitions : null,
            MaxAgeMs = template.Parts.HasFlag(TopicSettingParts.MaxAge) ? all.MaxAgeMs : null,
            MaxBytes = template.Parts.HasFlag(TopicSettingParts.MaxBytes) ? all.MaxBytes : null,
            MaxRecords = template.Parts.HasFlag(TopicSettingParts.MaxRecords) ? all.MaxRecords : null,
            MaxMessageBytes = template.Parts.HasFlag(TopicSettingParts.MaxMessageBytes) ? all.MaxMessageBytes : null,
            Compact = template.Parts.HasFlag(TopicSettingParts.Compact) ? all.Compact : null,
            CompactAfterMs = template.Parts.HasFlag(TopicSettingParts.CompactAfter) ? all.CompactAfterMs : null,
            DeleteMarkerMs = template.Parts.HasFlag(TopicSettingParts.DeleteMarker) ? all.DeleteMarkerMs : null,
        };
    }

    /// <summary>With every field set.</summary>
    public static TopicConfig Write(TopicSettings settings, int partitions) => new()
    {
        Partitions = (uint)partitions,
        MaxAgeMs = (ulong)settings.MaxAgeMs,
        MaxBytes = (ulong)settings.MaxBytes,
        MaxRecords = (ulong)settings.MaxRecords,
        Compact = settings.Compact,
        CompactAfterMs = (ulong)settings.CompactAfterMs,
        DeleteMarkerMs = (ulong)settings.DeleteMarkerMs,
        MaxMessageBytes = (uint)settings.MaxMessageBytes,
    };

    private static TopicSettingParts PartsOf(TopicConfig? config)
    {
        var parts = TopicSettingParts.None;
        parts |= config?.MaxAgeMs is null ? 0 : TopicSettingParts.MaxAge;
        parts |= config?.MaxBytes is null ? 0 : TopicSettingParts.MaxBytes;
        parts |= config?.MaxRecords is null ? 0 : TopicSettingParts.MaxRecords;
        parts |= config?.MaxMessageBytes is null ? 0 : TopicSettingParts.MaxMessageBytes;
        parts |= config?.Compact is null ? 0 : TopicSettingParts.Compact;
        parts |= config?.CompactAfterMs is null ? 0 : TopicSettingParts.CompactAfter;
        parts |= config?.DeleteMarkerMs is null ? 0 : TopicSettingParts.DeleteMarker;
        return parts;
    }

    private static long Number(string field, ulong? value) => value is null or <= long.MaxValue
        ? (long)(value ?? 0)
        : throw Refusal.InvalidArgument($"config.{field} is {value}; it is at most {long.MaxValue}.");
}
