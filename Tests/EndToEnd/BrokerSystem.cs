using Broker.Tests.Demo;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>
/// The whole system, started once for all tests of the collection, with its data in a folder of its own.
/// </summary>
public sealed class BrokerSystem : IAsyncLifetime
{
    private readonly DirectoryInfo _data = Directory.CreateTempSubdirectory("broker-end-to-end-");
    private RunningSystem? _system;

    public RunningSystem System => _system ?? throw new InvalidOperationException("The system has not been started.");

    public string DataRoot => _data.FullName;

    public async ValueTask InitializeAsync() =>
        _system = await RunningSystem.StartAsync(_data.FullName, TestContext.Current.CancellationToken);

    public async ValueTask DisposeAsync()
    {
        if (_system is not null)
        {
            await _system.DisposeAsync();
        }

        _data.Delete(recursive: true);
    }
}
