using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Broker.ServiceDefaults;

/// <summary>
/// Bounds what a service holds of messages that have not come to their end. gRPC begins a call's work when all of a
/// message is there, so calls that wait for the rest of theirs are seen by nobody: of two thousand publishes of 1 MiB
/// that come at once all would lie in memory before the first one could be refused.
/// </summary>
public static class ReceiveBudget
{
    /// <summary>
    /// While all calls below the given paths together hold more than that of incomplete messages, those that wait for
    /// more end with the given error.
    /// </summary>
    /// <param name="app">The service.</param>
    /// <param name="bytes">How much they may hold. One more read of each call may come on top.</param>
    /// <param name="refusal">What their callers hear.</param>
    /// <param name="paths">Beginnings of the calls' paths, such as "/broker.v1.Broker".</param>
    public static IApplicationBuilder UseReceiveBudget(
        this IApplicationBuilder app, long bytes, Func<RpcException> refusal, params string[] paths)
    {
        ArgumentNullException.ThrowIfNull(refusal);
        var budget = new Budget(bytes, refusal);
        return app.Use(next => context => Array.Exists(paths, path => context.Request.Path.StartsWithSegments(path))
            ? budget.ServeAsync(context, next)
            : next(context));
    }

    private sealed class Budget(long limitBytes, Func<RpcException> refusal)
    {
        private long _heldBytes;

        public async Task ServeAsync(HttpContext context, RequestDelegate next)
        {
            using var body = new BudgetedBody(context.Request.BodyReader, this);
            context.Features.Set<IRequestBodyPipeFeature>(body);
            await next(context);
        }

        public void Add(long bytes) => Interlocked.Add(ref _heldBytes, bytes);

        public void ThrowIfOver()
        {
            if (Volatile.Read(ref _heldBytes) > limitBytes)
            {
                throw refusal();
            }
        }
    }

    /// <summary>A request's body that counts what was looked at and left: the beginning of a message.</summary>
    private sealed class BudgetedBody(PipeReader body, Budget budget)
        : PipeReader, IRequestBodyPipeFeature, IDisposable
    {
        private ReadOnlySequence<byte> _read;
        private long _heldBytes;

        public PipeReader Reader => this;

        [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
        public override async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
        {
            if (_heldBytes > 0)
            {
                budget.ThrowIfOver();
            }

            var result = await body.ReadAsync(cancellationToken);
            _read = result.Buffer;
            return result;
        }

        public override bool TryRead(out ReadResult result)
        {
            var hasRead = body.TryRead(out result);
            _read = hasRead ? result.Buffer : _read;
            return hasRead;
        }

        public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

        public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
        {
            Hold(_read.Slice(consumed).Length);
            _read = default;
            body.AdvanceTo(consumed, examined);
        }

        public override void CancelPendingRead() => body.CancelPendingRead();

        public override void Complete(Exception? exception = null)
        {
            Hold(0);
            body.Complete(exception);
        }

        public void Dispose() => Hold(0);

        private void Hold(long bytes)
        {
            if (bytes != _heldBytes)
            {
                budget.Add(bytes - _heldBytes);
                _heldBytes = bytes;
            }
        }
    }
}
