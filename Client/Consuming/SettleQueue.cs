using Grpc.Core;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client.Consuming;

/// <summary>
/// Sends what is to become of delivered records: at once when nothing is under way, else together with all that comes
/// meanwhile. Any thread.
/// </summary>
/// <param name="send">Sends a request, to whichever broker answers.</param>
/// <param name="options">How patient to be.</param>
/// <param name="time">The clock.</param>
internal sealed class SettleQueue(
    Func<Wire.SettleRequest, Task<Wire.SettleResponse>> send, BrokerClientOptions options, TimeProvider time)
    : IDisposable
{
    /// <summary>The most that a broker takes in one request.</summary>
    private const int MostPerCall = 1_000;

    /// <summary>While one waits for the disks, another may be on its way.</summary>
    private const int CallsAtOnce = 4;

    /// <summary>Who comes then waits until others are done.</summary>
    private const int MostWaiting = 16 * MostPerCall;

    private readonly SemaphoreSlim _room = new(MostWaiting);
    private readonly Queue<Item> _waiting = new();
    private int _calls;

    /// <summary>False: the record was not the consumer's any more.</summary>
    /// <exception cref="BrokerClientException">Nobody could say in time that it is done, or it cannot be.</exception>
    public async ValueTask<bool> SettleAsync(Wire.Settlement settlement, CancellationToken cancellationToken)
    {
        await _room.WaitAsync(cancellationToken);
        var item = new Item(settlement, time.GetTimestamp());
        lock (_waiting)
        {
            _waiting.Enqueue(item);
        }

        BeginCall();
        return await item.Done.Task.WaitAsync(cancellationToken);
    }

    /// <summary>When no call can be under way any more, or will be heard of.</summary>
    public void Dispose() => _room.Dispose();

    private void BeginCall()
    {
        lock (_waiting)
        {
            if (_waiting.Count == 0 || _calls == CallsAtOnce)
            {
                return;
            }

            _calls++;
        }

        _ = CallAsync();
    }

    private async Task CallAsync()
    {
        // Others that are ready to run get their word into the same call.
        await Task.Yield();
        while (true)
        {
            List<Item> items;
            lock (_waiting)
            {
                items = Take();
                if (items.Count == 0)
                {
                    _calls--;
                    return;
                }
            }

            try
            {
                var request = new Wire.SettleRequest();
                request.Settlements.AddRange(items.Select(static item => item.Settlement));
                var response = await send(request);
                await HearAsync(items, response);
            }
            catch (Exception failure) when (failure is BrokerClientException or ObjectDisposedException)
            {
                items.ForEach(item => End(item, failure));
            }
        }
    }

    private List<Item> Take()
    {
        var items = new List<Item>(Math.Min(_waiting.Count, MostPerCall));
        while (items.Count < MostPerCall && _waiting.TryDequeue(out var item))
        {
            items.Add(item);
        }

        return items;
    }

    private async Task HearAsync(List<Item> items, Wire.SettleResponse response)
    {
        var isAgain = false;
        for (var i = 0; i < items.Count; i++)
        {
            var (item, settled) = (items[i], response.Results[i]);
            switch ((StatusCode)settled.Status)
            {
                case StatusCode.OK:
                    End(item, isDone: true);
                    break;
                case StatusCode.NotFound:
                    End(item, isDone: false);
                    break;
                case StatusCode.Unavailable or StatusCode.Aborted or StatusCode.ResourceExhausted
                    when time.GetElapsedTime(item.Since) < options.OperationTimeout:
                    // Once more does no harm: what is settled stays so.
                    isAgain = true;
                    lock (_waiting)
                    {
                        _waiting.Enqueue(item);
                    }

                    break;
                default:
                    End(item, ClientErrors.NotSettled(settled));
                    break;
            }
        }

        if (isAgain)
        {
            await Task.Delay(options.RetryDelayMin, time);
        }
    }

    private void End(Item item, bool isDone)
    {
        item.Done.TrySetResult(isDone);
        _room.Release();
    }

    private void End(Item item, Exception failure)
    {
        item.Done.TrySetException(failure);
        _room.Release();
    }

    private sealed record Item(Wire.Settlement Settlement, long Since)
    {
        public TaskCompletionSource<bool> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
