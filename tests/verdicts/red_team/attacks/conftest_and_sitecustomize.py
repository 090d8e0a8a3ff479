# Files that Python and pytest run by themselves, put wherever they are looked for.
# outcome: failed
# observation: put=[]

import os, site, sys
put = []
folders = {folder for folder in sys.path if folder.startswith('/')} | {'/src', '/src/tests', '/env', '/fixfly'}
folders |= set(site.getsitepackages()) | {os.path.dirname(os.__file__)}
for folder in sorted(folders):
    for name in ('conftest.py', 'sitecustomize.py', 'usercustomize.py', 'evil.pth', 'pytest.ini'):
        try:
            with open(os.path.join(folder, name), 'w') as file:
                file.write('raise SystemExit(0)')
            put.append(os.path.join(folder, name))
        except OSError:
            pass
raise AssertionError(f'put={put}')
