using Subscriber.Inbox;

namespace Subscriber.Following;

/// <summary>
/// A record of the brokers' log; or none: what lies before the offset and did not come is gone.
/// </summary>
internal readonly record struct LogRecord(long Offset, InboxRecord? Record);

/// <summary>A partition of a topic, most of which have one: what offsets count in.</summary>
internal readonly record struct TopicPlace(string Topic, int Partition = 0)
{
    public override string ToString() => Partition == 0 ? Topic : $"{Topic}, partition {Partition}";
}

/// <summary>A partition as the brokers list it.</summary>
internal readonly record struct LogTopic(TopicPlace Place, long FirstOffset, long NextOffset);

/// <summary>
/// A part of the list of topics, with all partitions of each; the token says where to go on, and is empty after the
/// last one.
/// </summary>
internal readonly record struct LogTopicPage(IReadOnlyList<LogTopic> Topics, string NextPageToken);

/// <summary>The brokers could not answer; the same call may succeed later.</summary>
internal sealed class BrokerLogException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// All that the subscriber asks of the brokers. Every method throws <see cref="BrokerLogException"/>.
/// </summary>
internal interface IBrokerLog
{
    /// <summary>
    /// Records from an offset to the end of what is committed now, no more than the limit; offsets that are left out
    /// are gone. Last may come how far the read has got without a record. Nothing for a topic that does not exist, or
    /// ends before.
    /// </summary>
    IAsyncEnumerable<LogRecord> ReadAsync(
        TopicPlace place, long fromOffset, int limit, CancellationToken cancellationToken);

    /// <summary>A page of the topics that match a filter; the first one for an empty token.</summary>
    Task<LogTopicPage> ListTopicsAsync(string filter, string pageToken, CancellationToken cancellationToken);

    Task PutLiveSubscriptionAsync(string name, IReadOnlyList<string> filters, CancellationToken cancellationToken);

    Task DeleteLiveSubscriptionAsync(string name, CancellationToken cancellationToken);
}
