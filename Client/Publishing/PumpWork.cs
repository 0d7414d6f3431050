using Broker.Client.Connections;

namespace Broker.Client.Publishing;

/// <summary>
/// What a producer has to do after it has left its lock: wake callers, write to the stream, let others in.
/// </summary>
internal struct PumpWork
{
    private PublishBatch? _first;
    private BrokerClientException? _firstError;
    private List<(PublishBatch Batch, BrokerClientException? Error)>? _more;

    /// <summary>The stream that has something new to write.</summary>
    public PublishStream? Stream { get; set; }

    /// <summary>Adds a batch that is done; without an error it has its answer.</summary>
    public void Add(PublishBatch batch, BrokerClientException? error)
    {
        if (_first is null)
        {
            (_first, _firstError) = (batch, error);
        }
        else
        {
            (_more ??= []).Add((batch, error));
        }
    }

    public readonly void Finish(PublishContext context)
    {
        Stream?.Flush();
        if (_first is null)
        {
            return;
        }

        Finish(_first, _firstError, context);
        if (_more is not null)
        {
            foreach (var (batch, error) in _more)
            {
                Finish(batch, error, context);
            }
        }
    }

    private static void Finish(PublishBatch batch, BrokerClientException? error, PublishContext context)
    {
        var bytes = batch.SizeBytes;
        context.Metrics.Published(batch, error, context);
        batch.Complete(error);
        batch.Release();
        context.Gate.Release(bytes);
        batch.Producer.RetireIfIdle();
        if (error is not null)
        {
            if (error.Code == BrokerClientErrorCode.InvalidArgument)
            {
                batch.Producer.OnDoubt?.Invoke();
            }

            ClientLog.PublishFailed(context.Logger, batch.Producer.Topic, batch.Count, error.Code, error.Message);
        }
    }
}
