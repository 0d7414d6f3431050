using System.Data.Common;

namespace Publisher.Outbox;

/// <summary>Tells what became of stored messages.</summary>
internal sealed class OutboxMessages(OutboxStore store)
{
    /// <summary>A message's row. Errors: NotFound, Unavailable.</summary>
    public async Task<OutboxStore.MessageRow> GetAsync(long id, CancellationToken cancellationToken)
    {
        try
        {
            return (await store.FindMessagesAsync([id], cancellationToken)).FirstOrDefault()
                ?? throw new PublishException(
                    PublishFailure.NotFound,
                    $"There is no message {id} in the outbox: it was never stored, or committed so long ago that its "
                    + "row is deleted.");
        }
        catch (Exception e) when (e is DbException or TimeoutException)
        {
            throw new PublishException(PublishFailure.Unavailable, "Postgres is away. Ask again later.", e);
        }
    }
}
