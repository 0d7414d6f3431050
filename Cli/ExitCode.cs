using Broker.Client;

namespace Broker.Cli;

/// <summary>What the program ends with, for scripts.</summary>
internal enum ExitCode
{
    Done = 0,

    /// <summary>The brokers refused it, or part of it.</summary>
    Refused = 1,

    /// <summary>The command itself is wrong: an unknown verb, a bad value, a name that can be none.</summary>
    Usage = 2,

    /// <summary>There is no such topic, group or node.</summary>
    NotFound = 3,

    /// <summary>No broker answered in time, or a shard has no leader. Nothing was done: try again.</summary>
    Unavailable = 4,

    /// <summary>It may be done or not: look before you try again.</summary>
    OutcomeUnknown = 5,

    /// <summary>Ctrl-C, as shells count it: 128 and the number of the signal.</summary>
    Cancelled = 130,
}

internal static class ExitCodes
{
    public static ExitCode Of(BrokerClientErrorCode error) => error switch
    {
        BrokerClientErrorCode.InvalidArgument => ExitCode.Usage,
        BrokerClientErrorCode.NotFound or BrokerClientErrorCode.TopicDeleted or BrokerClientErrorCode.GroupDeleted =>
            ExitCode.NotFound,
        BrokerClientErrorCode.Unavailable or BrokerClientErrorCode.QuorumLost => ExitCode.Unavailable,
        BrokerClientErrorCode.OutcomeUnknown => ExitCode.OutcomeUnknown,
        _ => ExitCode.Refused,
    };
}

/// <summary>The command is wrong in a way that its parser cannot see; the sentence says what was expected.</summary>
internal sealed class UsageException(string message) : Exception(message);
