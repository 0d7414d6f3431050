using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting.Local;

/// <summary>Logs in to a Redis server and pings it.</summary>
internal sealed class RedisHealthCheck(RedisResource redis) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(redis.PrimaryEndpoint.Host, redis.PrimaryEndpoint.Port, cancellationToken);
        await using var stream = client.GetStream();
        var password = await redis.PasswordParameter!.GetValueAsync(cancellationToken);

        // The answers are "+OK\r\n+PONG\r\n"; an error is a line that begins with '-', such as "-LOADING…".
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"AUTH {password}\r\nPING\r\n"), cancellationToken);
        using var reader = new StreamReader(stream, Encoding.ASCII);
        var login = await reader.ReadLineAsync(cancellationToken);
        var pong = await reader.ReadLineAsync(cancellationToken);
        return login == "+OK" && pong == "+PONG"
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Unhealthy($"Redis answers '{login}', '{pong}'.");
    }
}
