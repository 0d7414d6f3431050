using System.Threading.Channels;
using Grpc.Core;
using Publisher.Outbox;
using Publisher.Protocol.V1;

namespace Publisher.Api;

/// <summary>
/// One PublishStream: messages are submitted as they come, and answered in their order. So many may be under way;
/// beyond it the stream is not read.
/// </summary>
internal sealed class PublishPipeline(
    Func<PublishRequest, CancellationToken, Task<PublishTicket>> submit,
    Func<PublishTicket, CancellationToken, Task<PublishResponse>> finish,
    CancellationToken stopping)
{
    private readonly Channel<Task<PublishStreamResponse>> _answers =
        Channel.CreateBounded<Task<PublishStreamResponse>>(PublisherLimits.MessagesPerStream);

    public async Task RunAsync(
        IAsyncStreamReader<PublishStreamRequest> requests,
        IServerStreamWriter<PublishStreamResponse> responses,
        CancellationToken cancellationToken)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var reading = ReadAsync(requests, ending);
        var writing = WriteAsync(responses, ending);
        await Task.WhenAll(reading, writing);
    }

    private async Task ReadAsync(IAsyncStreamReader<PublishStreamRequest> requests, CancellationTokenSource ending)
    {
        using var listening = CancellationTokenSource.CreateLinkedTokenSource(ending.Token, stopping);
        try
        {
            while (await requests.MoveNext(listening.Token))
            {
                await _answers.Writer.WriteAsync(await BeginAsync(requests.Current, ending.Token), ending.Token);
            }

            _answers.Writer.TryComplete();
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested && !ending.IsCancellationRequested)
        {
            // What was read is answered first; then the call ends with this.
            _answers.Writer.TryComplete(new RpcException(new Status(
                StatusCode.Unavailable, "The publisher stops. What it has not answered is not stored.")));
        }
        catch (Exception e)
        {
            // The call ends with the first failure; answers that are still to come would reach nobody.
            _answers.Writer.TryComplete(e);
            await ending.CancelAsync();
            throw;
        }
    }

    private async Task WriteAsync(IServerStreamWriter<PublishStreamResponse> responses, CancellationTokenSource ending)
    {
        try
        {
            await foreach (var answer in _answers.Reader.ReadAllAsync(ending.Token))
            {
                await responses.WriteAsync(await answer);
            }
        }
        catch
        {
            await ending.CancelAsync();  // Without a reader of answers there is no use in reading requests.
            throw;
        }
    }

    // Submits in the order of the stream, and returns the task of the answer. A refusal is an answer.
    private async Task<Task<PublishStreamResponse>> BeginAsync(
        PublishStreamRequest request, CancellationToken cancellationToken)
    {
        try
        {
            var ticket = await submit(request.Message ?? new PublishRequest(), cancellationToken);
            return FinishAsync(request.Correlation, ticket, cancellationToken);
        }
        catch (PublishException e)
        {
            return Task.FromResult(Refused(request.Correlation, e));
        }
    }

    private async Task<PublishStreamResponse> FinishAsync(
        ulong correlation, PublishTicket ticket, CancellationToken cancellationToken)
    {
        try
        {
            var response = await finish(ticket, cancellationToken);
            return new PublishStreamResponse { Correlation = correlation, Response = response };
        }
        catch (PublishException e)
        {
            return Refused(correlation, e);
        }
    }

    private static PublishStreamResponse Refused(ulong correlation, PublishException reason) => new()
    {
        Correlation = correlation,
        Status = (uint)PublishStatus.ToGrpc(reason.Failure),
        Error = reason.Message,
    };
}
