using System.Runtime.CompilerServices;

namespace Subscriber.Inbox;

/// <summary>Reads the inbox for those downstream, in the order of inbox ids, which is the order of commits.</summary>
internal sealed class InboxReader(InboxPages pages, InboxTail tail)
{
    /// <summary>
    /// Messages after an id; with follow also those that are still to come. Errors: Invalid, OutOfRange, TooMany,
    /// Unavailable.
    /// </summary>
    public async IAsyncEnumerable<InboxMessage> ReadAsync(
        string? filter,
        long after,
        bool follow,
        long limit,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var cursor = await OpenAsync(filter, after, follow, cancellationToken);
        await foreach (var message in cursor.ReadAsync(limit, cancellationToken))
        {
            yield return message;
        }
    }

    /// <summary>The same in two steps: whatever is wrong with the request is said here.</summary>
    public async Task<InboxCursor> OpenAsync(
        string? filter, long after, bool follow, CancellationToken cancellationToken)
    {
        var condition = InboxPages.Condition.Of(filter);
        if (after < 0)
        {
            throw new SubscriberException(
                SubscriberFailure.Invalid, $"The id to begin after is {after}; expected 0 or an id of the inbox.");
        }

        var end = await pages.EndAsync(cancellationToken);
        return after <= end
            ? new InboxCursor(pages, follow ? tail : null, condition, after)
            : throw InboxCursor.Beyond(after, end);
    }
}

/// <summary>One reader's place in the inbox. With a tail it follows.</summary>
internal sealed class InboxCursor(InboxPages pages, InboxTail? tail, InboxPages.Condition condition, long after)
    : IDisposable
{
    private readonly IDisposable? _place = tail?.Follow();
    private long _after = after;

    public static SubscriberException Beyond(long after, long end) => new(
        SubscriberFailure.OutOfRange,
        $"The id {after} lies beyond the inbox, which ends at {end}: it is another inbox, or was emptied. Begin anew "
        + $"after 0, or after {end} for what is still to come.");

    /// <summary>Messages from the cursor's place on, no more than the limit; 0: no limit.</summary>
    public async IAsyncEnumerable<InboxMessage> ReadAsync(
        long limit, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var left = limit > 0 ? limit : long.MaxValue;
        while (true)
        {
            var growing = tail?.Grown.Next;
            var page = await NextAsync(left, cancellationToken);
            foreach (var message in page.Messages.Where(message => condition.Matches(message.Topic)))
            {
                yield return message;
                if (--left == 0)
                {
                    yield break;
                }
            }

            _after = page.UpTo;
            if (page.IsLast && growing is null)
            {
                yield break;
            }

            if (page.IsLast)
            {
                await growing!.WaitAsync(cancellationToken);
            }
        }
    }

    public void Dispose() => _place?.Dispose();

    // From the tail's memory, or from Postgres what is older. Last: there is nothing more for now.
    private async Task<InboxPage> NextAsync(long left, CancellationToken cancellationToken)
    {
        var messages = new List<InboxMessage>();
        switch (tail?.Take(_after, messages) ?? TailState.Behind)
        {
            case TailState.Taken:
                return new InboxPage(messages, messages[^1].InboxId, false);
            case TailState.AtEnd:
                return new InboxPage([], _after, true);
            case TailState.Beyond:
                // The tail may be a moment behind whoever gave this id.
                var end = await pages.EndAsync(cancellationToken);
                return _after > end ? throw Beyond(_after, end) : new InboxPage([], _after, true);
            default:
                var limit = (int)Math.Min(left, SubscriberLimits.ReadRows);
                var page = await pages.ReadAsync(condition, _after, limit, cancellationToken);
                return page with { IsLast = page.IsLast && tail is null };
        }
    }
}
