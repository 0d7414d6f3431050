namespace Subscriber.Inbox;

/// <summary>Says that the inbox has grown.</summary>
internal sealed class InboxGrowth
{
    public Signal Signal { get; } = new();
}
