using Subscriber.Following;

namespace Subscriber.Inbox;

/// <summary>
/// A run on its way into the inbox. Expected is the topic's position that it continues; it differs from the run's base
/// only when the brokers have trimmed what lay between.
/// </summary>
internal sealed record InboxAppend(TopicProgress Topic, long ExpectedOffset, MessageRun Run);
